# SPDX-License-Identifier: Apache-2.0
# What cannot be trained on, asked of a model of factors, or combined: one line and the exit code each.
try() {
    hysgd "$@"
    echo "$? hysgd $*"
}
train() {
    try train -q "$@"
}
printf '1 1 3\n1 2 3\n2 1 3\n2 2 3\n3 1 3\n3 2 3\n' >constant
printf '1 1 3\n1 2 nan\n' >nan
printf '1 1\n2 1\n' >short
: >empty
echo "--- data:"
train --data ratings:missing --model factors
train --data ratings:empty --model factors
train --data ratings:nan --model factors
train --data ratings:short --model factors
train --data digits --model factors
train --data ratings:constant,split=none --model factors,rank=3
train --data ratings:constant,split=none --model factors,rank=2 --target loss=1
train --data ratings:constant,split=fraction:0.2 --model factors,rank=2,loss=bpr --target loss=1
train --data ratings:constant,split=fraction:0.2 --model factors,rank=2 --target accuracy=0.9
printf '1 1 -3\n1 2 3\n2 1 3\n2 2 3\n' >negative
train --data ratings:negative,split=none --model factors,rank=1,loss=kl
echo "--- words:"
train --data ratings:constant --model lenet --scheduler dsgd
train --data ratings:constant --model factors --scheduler dsgx
train --data ratings:constant --model factors --scheduler dsgd --batch 64
train --data ratings:constant --model factors --scheduler dsgd --policy async
train --data ratings:constant --model factors --scheduler dsgd --wire int8
train --data ratings:constant --model factors --scheduler dsgd --speeds 1,0.5
train --data ratings:constant --model factors --eval-every updates=5
train --data ratings:constant --model factors,rank=0
train --data ratings:constant --model factors,unseen=never
train --data ratings:constant,split=none --model factors,rank=1 --stop-early 2
train --data ratings:constant --model factors --policy sync --stop-early 2
train --data ratings:constant,split=none --model factors,rank=1 --policy sync --deterministic
train --data ratings:constant,split=none --model factors,loss=bpr,rank=1 --policy sync
echo "--- divergence:"
data=planted,users=50,items=40,ratings=900
train --data $data --model factors,rank=4,step=constant,rate=100,instructions=plain --workers 1 2>&1 | sed -n '/^hysgd/p'
echo "--- a model of other data:"
hysgd train -q --data $data --model factors,rank=2 --runtime virtual --epochs 1 --save model.safetensors >/dev/null || exit
printf 'x y 3\nx z 4\n' >other
try evaluate model.safetensors --data ratings:other,split=fraction:0.5
try evaluate model.safetensors --data digits
hysgd train -q --data ratings:constant,split=none --model factors,rank=1 --save small.safetensors >/dev/null || exit
printf '1 1 4\n1 2 3\n2 1 3\n2 2 3\n3 1 3\n3 2 3\n' >constant
try evaluate small.safetensors --split train
try recommend small.safetensors --user 1 --skip-seen
train --resume small.safetensors --epochs 30
train --resume model.safetensors --data ratings:constant,split=none --epochs 3
echo "--- questions:"
try predict model.safetensors --user 3
try predict model.safetensors --user 3 --item 4 --count 2
try predict model.safetensors --user 3 --item 4 --pairs other
try evaluate model.safetensors --model factors,rank=3
try recommend model.safetensors
try recommend model.safetensors --all --user 3
try recommend model.safetensors --user nobody
try recommend model.safetensors --ratings empty
printf '1 1 1\n1 2 2\n2 1 3\n2 2 3\n' >counts
hysgd train -q --data ratings:counts,split=none --model factors,rank=1,loss=kl --epochs 1 --save counts.safetensors >/dev/null || exit
printf '7 1 1\n7 2 -1\n' >negative
try recommend counts.safetensors --ratings negative
hysgd train -q --data $data --model factors,rank=2,loss=bpr --runtime virtual --epochs 1 --save bpr.safetensors >/dev/null || exit
try recommend bpr.safetensors --all --new-items other
try recommend model.safetensors --all --new-items nan
printf 'hello' >text
try predict text --new-items other
try recommend text --all
hysgd train -q --data $data --model factors,rank=2,unseen=error --runtime virtual --epochs 1 --save strict.safetensors >/dev/null || exit
try predict strict.safetensors --user 3 --item nothing
echo "--- runs of the other kind:"
hysgd train -q --data $data --model factors,rank=2 --runtime virtual --epochs 1 --log run.hylog --save scheduled.safetensors >/dev/null || exit
hysgd train -q --data $data --model factors,rank=2 --runtime virtual --policy sync --epochs 1 --save synced.safetensors >/dev/null || exit
try replay run.hylog
try advise run.hylog
train --resume scheduled.safetensors --policy sync --epochs 2
train --resume synced.safetensors --scheduler dsgd --epochs 2
train --data $data --model factors,rank=2 --epochs 1.5
hysgd train --data $data --model factors --runtime virtual --dry-run >dry.conf
hysgd train --config dry.conf --dry-run | cmp - dry.conf && echo the same
