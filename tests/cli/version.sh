# SPDX-License-Identifier: Apache-2.0
# The version is the one of the public header.
hysgd --version
