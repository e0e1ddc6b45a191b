# SPDX-License-Identifier: Apache-2.0
# Help without a command, and where it goes.
hysgd --help
hysgd help train | sed -n 1p
echo "--- no command at all is wrong usage:"
hysgd
