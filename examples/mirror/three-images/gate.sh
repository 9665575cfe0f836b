#!/bin/sh
# A gate for CI: fails unless every image of the file is at its destination, and was read there in full within 30 days.
#
#     gate.sh [OPTION...]        the options go to each occystrap command, such as --authfile or --ledger
#
# Exit code: 0 the gate is open; 1 an image is missing, failed or damaged; 3 something could not be checked, or was not
# read for too long; 4 an image at the source is newer than its copy, or a verification found damage.
set -eu
cd "$(dirname "$0")"
occystrap=${OCCYSTRAP:-occystrap}

# Asks both ends about each image, and writes nothing.
"$occystrap" mirror plan mirror.yaml --exit-code "$@"
# Reads what was not read in full for 20 days, for ten minutes at most.
"$occystrap" mirror verify mirror.yaml --full --max-age 20d --max-duration 10m --require 30d "$@"
