# SPDX-License-Identifier: Apache-2.0
# The short help of `hysgd advise`; the full one is longer and ends well.
hysgd advise -h
hysgd advise --help >full || exit
[ "$(wc -l <full)" -gt "$(hysgd advise -h | wc -l)" ] && grep -c '^exit codes:' full
