# SPDX-License-Identifier: Apache-2.0
# Faults of a configuration file are named with file and line.
try() {
    hysgd train --config run.conf
    echo "$?"
}
printf '# a comment\n\n  workers = 2 \nwrkers = 3\n' >run.conf && try
printf 'workers = 2\nworkers = 3\n' >run.conf && try
printf 'workers 2\n' >run.conf && try
printf '= 2\n' >run.conf && try
printf 'workers = two\n' >run.conf && try
printf 'log = "a\n' >run.conf && try
printf 'log = "a\\q"\n' >run.conf && try
printf 'workers = 2\0\n' >run.conf && try
printf 'config = run.conf\n' >run.conf && try
hysgd train --config .
echo "$?"
