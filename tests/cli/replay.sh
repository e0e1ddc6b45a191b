# SPDX-License-Identifier: Apache-2.0
# What replay prints of a log that it repeats, of one that was cut, and of what it refuses.
run="--model softmax,kernels=reference --data digits,train=400,test=100 --workers 3 --batch 8 --epochs 4 --policy threshold,step=20"
hysgd train -q --runtime virtual $run --log run.hylog --save run.safetensors >out
hysgd train -q $run --log threads.hylog --save threads.safetensors >out
echo "--- the same, to the last bit:"
hysgd replay -q run.hylog --check run.safetensors | sed 's/checksum .*/checksum X/'
hysgd replay -q threads.hylog --check threads.safetensors | sed 's/at [^ ]* s/at X s/; s/[0-9.][0-9.]*/N/g; s/checksum .*/checksum X/'
hysgd replay -q run.hylog --json | sed 's/"checksum":.*/"checksum":X}/'
echo "--- until:"
hysgd replay -q run.hylog --until updates=50 --save early.safetensors | sed 's/checksum .*/checksum X/'
hysgd train -q --resume early.safetensors --epochs 4 --save late.safetensors >out; echo "$?"
hysgd replay -q run.hylog --check late.safetensors | tail -n 1
echo "--- what if:"
hysgd replay -q run.hylog --policy sync
hysgd replay -q run.hylog --policy async --until updates=50
hysgd replay -q run.hylog --policy threshold,step=20 --until gradients=99
echo "--- a log of the replay is the recorded one, but for the names of files:"
hysgd replay -q run.hylog --log again.hylog >out
for log in run again; do hysgd export $log.hylog --jsonl $log.jsonl; grep -v hysgd_log $log.jsonl >$log.events; done
cmp run.events again.events && echo same
echo "--- cut:"
head -c 5000 run.hylog >cut.hylog
hysgd replay -q cut.hylog | sed 's/[0-9][0-9.]*/N/g; s/checksum .*/checksum X/'
echo "--- refused:"
try() {
    hysgd replay -q "$@" && echo "accepted: $*"
    echo "$? hysgd replay $*"
}
try
try missing.hylog
try run.jsonl
try run.hylog --until updates=0
try run.hylog --until hours=3
try run.hylog --log run.hylog
try run.hylog --resume run.safetensors
try run.hylog --data digits,train=400,test=101 2>&1 | sed 's/: [0-9]* here.*//'
try run.hylog --check early.safetensors 2>&1 | sed 's/parameter .*/parameter .../'
try run.hylog --policy sync --save what.safetensors
try run.hylog --policy table --until updates=50
