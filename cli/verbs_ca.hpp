// The verbs ca export and ca trust. They ask the server, and while none runs its state folder.
// Main's thread; they block.
#pragma once

#include "cli/client.hpp"
#include "cli/trust_store.hpp"
#include "cli/verbs.hpp"

namespace atlasflow::cli {

// Prints or writes the certificate, never the key. 2 when the file can't be written.
int run(const CaExportCommand& command, const Connection& connection, const Terminal& terminal);

// 2 for who is not root, and when another authority has the name in the store.
int run(const CaTrustCommand& command, const Connection& connection, const Terminal& terminal,
        const TrustStore& store = TrustStore::of_this_machine());

}  // namespace atlasflow::cli
