# SPDX-License-Identifier: Apache-2.0
# The best model stays the best: when a run that was stopped early is taken up again, and when one diverges after good epochs.
run="-q --runtime virtual --data planted,users=200,items=60,ratings=4000,signal=1.5,noise=0.3,rank=4,validation=0.1 --workers 4"
model=factors,rank=8,step=constant,instructions=plain
hysgd train $run --model $model,rate=0.1,l2=0 --stop-early 1 --epochs 60 --save best.safetensors | grep -o 'kept the model.*'
hysgd predict best.safetensors >first.csv
hysgd train -q --resume best.safetensors --epochs 60 --save best.safetensors | grep -o 'kept the model.*'
hysgd predict best.safetensors >second.csv
cmp first.csv second.csv && echo the same
hysgd train $run --model $model,rate=0.2,l2=0,scale=0.001 --stop-early 100 --epochs 200 --save diverged.safetensors >/dev/null || echo $?
hysgd evaluate diverged.safetensors
