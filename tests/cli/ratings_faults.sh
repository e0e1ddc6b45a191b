# SPDX-License-Identifier: Apache-2.0
# Faults of files of ratings are named with file and line; nothing is trained.
try() {
    cat >r
    hysgd train --model quadratic --data "ratings:r$1"
    echo "$?"
}
try </dev/null
printf '1 2 3\n1 2\n' | try
printf '1,2,3\n\n1,2,three\n' | try
printf '1::2::3\n1::3::NaN\n' | try
printf '1\t2\t3\n1\t\t3\n' | try
printf 'user item rating\n' | try
printf '1 2 3\n1 3 1e400\n' | try
printf '1 2 3\n2 2 3\n1 2 4\n' | try ,duplicates=refuse
printf '1 2 3\n2 2 3\n' | try ,split=time:0.5
printf '1 2 3\n2 2 3\n' | try ,split=kfold:5
printf '1 2 3\n2 2 3\n' | try ,split=leave-one-out,test=t
printf '1 2 3\n2 2 3\n' | try ,test=t
printf '1 2 3\n2 2 3\n' | gzip -c | head -c 25 | try
hysgd train --model quadratic --data ratings
echo "$?"
hysgd train --model mlp --data planted,users=9,ratings=50
echo "$?"
hysgd train --model quadratic --data planted:ml-2m
echo "$?"
