#!/bin/sh
# What starts the app; a shell alone can't listen, so it hands over to what Debian brings.
set -eu
echo "starting on port ${PORT:-3000}"
exec perl server.pl
