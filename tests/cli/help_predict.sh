# SPDX-License-Identifier: Apache-2.0
# The short help of `hysgd predict`; the full one is longer and ends well.
hysgd predict -h
hysgd predict --help >full || exit
[ "$(wc -l <full)" -gt "$(hysgd predict -h | wc -l)" ] && grep -c '^exit codes:' full
