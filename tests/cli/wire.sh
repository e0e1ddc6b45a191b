# SPDX-License-Identifier: Apache-2.0
# --wire: what it loses, what it counts, what it refuses; a log with it is replayed, a checkpoint continued.
run="-q --runtime virtual --model softmax,kernels=reference --data digits,train=400,test=100 --workers 2 --policy async --updates 40"
COLUMNS=200 hysgd train $run --wire int8 --log run.hylog --save run.safetensors | tail -3
hysgd replay -q run.hylog --check run.safetensors
hysgd train -q --resume run.safetensors --updates 60 --save two.safetensors >/dev/null
hysgd train $run --updates 60 --wire int8 --save one.safetensors >/dev/null
cmp one.safetensors two.safetensors && echo "a run that was continued is one never stopped"
hysgd train $run --wire bf16,feedback=yes --dry-run | grep wire
try() {
    hysgd train $run "$@"
    echo "$? $*"
}
try --wire int9
try --wire int8,feedback=maybe
try --wire fp32,feedback=no
try --wire int8,sparse=always
try --wire int8 --policy elastic
hysgd train -q --resume run.safetensors --updates 80 --wire fp32
echo "$?"
