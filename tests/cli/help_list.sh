# SPDX-License-Identifier: Apache-2.0
# The short help of `hysgd list`; the full one is longer and ends well.
hysgd list -h
hysgd list --help >full || exit
[ "$(wc -l <full)" -gt "$(hysgd list -h | wc -l)" ] && grep -c '^exit codes:' full
