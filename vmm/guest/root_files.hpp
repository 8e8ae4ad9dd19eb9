// The files and folders of an image's root that belong to the machine and not to the image, put
// there whatever the image has in their place: links are replaced and never followed. Runs in the
// guest; built for the tests too.
#pragma once

#include <string>
#include <string_view>

namespace atlasflow::vmm::guest {

// A folder at that path, which a file or a link that leads nowhere has to give way to. A link to a
// folder stays. False: it cannot be.
[[nodiscard]] bool make_folder_at(const std::string& path, unsigned mode);

// A plain file of mode 0644 with that text, in place of what is there: a file, a link wherever it
// leads, an empty folder. False: it cannot be.
[[nodiscard]] bool replace_file(const std::string& path, std::string_view text);

}  // namespace atlasflow::vmm::guest
