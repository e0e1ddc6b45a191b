# SPDX-License-Identifier: Apache-2.0
# evaluate, predict and inspect of a checkpoint.
if ! command -v python3 >/dev/null; then
    echo "skipped because python3 is not installed"
    exit 77
fi
run="-q --runtime virtual --model softmax,kernels=reference --data digits,train=400,test=100 --workers 2"
hysgd train $run --updates 60 --save run.safetensors >summary || exit
hysgd evaluate run.safetensors
hysgd evaluate run.safetensors --split train --limit 10 --json
hysgd evaluate run.safetensors --data digits,train=100,test=30 --batch 7 | sed -n 1p
hysgd predict run.safetensors --count 3
hysgd predict run.safetensors --first 98 --format json
hysgd predict run.safetensors --split train --batch 3 | wc -l
hysgd inspect run.safetensors | sed -n '/^tensor/,/bias/p'
hysgd inspect run.safetensors --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["metadata"]["model"])'
try() {
    hysgd "$@"
    echo "$? hysgd $*"
}
try evaluate run.safetensors --model lenet
try evaluate run.safetensors --data none
try evaluate run.safetensors --data digits,train=100,test=0
try predict run.safetensors --first 100
try evaluate missing.safetensors
printf 'hello' >text
try evaluate text
try inspect text
try predict text
