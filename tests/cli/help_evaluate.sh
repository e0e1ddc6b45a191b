# SPDX-License-Identifier: Apache-2.0
# The short help of `hysgd evaluate`; the full one is longer and ends well.
hysgd evaluate -h
hysgd evaluate --help >full || exit
[ "$(wc -l <full)" -gt "$(hysgd evaluate -h | wc -l)" ] && grep -c '^exit codes:' full
