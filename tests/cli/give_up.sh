# SPDX-License-Identifier: Apache-2.0
# Workers give up gradients: by a time limit, because they come too late, and when no limit would ever do.
run="--runtime virtual --model quadratic --data none --workers 3 --batch 32"
hysgd train $run --policy timeout --compute pareto,least=0.01,alpha=0.8 --updates 60 --log run.jsonl
echo "$?"
grep abandoned run.jsonl | head -2
hysgd train -q $run --policy backup,count=2,cancel=yes --micro-batch 8 --speeds 1,1,0.3 --updates 60
hysgd train -q $run --policy timeout,patience=0.001 --updates 60 >out
echo "$?"
