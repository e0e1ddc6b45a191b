# SPDX-License-Identifier: Apache-2.0
# Parts of ratings, duplicates and texts as ids, as a run shows them. The errors are left out.
awk 'BEGIN { for (i = 0; i < 400; i++) printf "u%d,i%d,%d,%d\n", i % 20, (i * 7 + int(i / 20)) % 40, i * i % 5 + 1, i }' >r.csv
printf 'u1,i2,3,400\nu1,i2,4,401\nu77,i1,5,402\n' >t.csv
train() {
    hysgd train -q --runtime virtual --workers 1 --model factors,rank=4,instructions=plain --epochs 1 --data "ratings:r.csv$1" |
        grep -e '^test' -e '^validation' -e '^duplicates' | sed 's,RMSE.*  of,of,'
}
train
train ,split=time:0.25,validation=0.2
train ,split=leave-one-out
train ,split=leave-one-out:latest
train ,split=kfold:4/3
train ,test=t.csv
cat t.csv >>r.csv
train ,split=none
train ,split=none,duplicates=keep
gzip -c r.csv >r.csv.gz
train .gz,split=time:0.1
