# SPDX-License-Identifier: Apache-2.0
# A model of factors: trained by a scheduler, stopped early, evaluated, asked for predictions and recommendations. In modelled time or with
# deterministic=yes, so that the numbers are the same everywhere.
run="-q --runtime virtual --data planted,users=200,items=60,ratings=4000,signal=1.5,noise=0.3,rank=4,validation=0.1 --model factors,rank=4,step=constant,rate=0.03,instructions=plain --workers 4"
hysgd train $run --stop-early 2 --save run.safetensors --csv run.csv --log run.hylog
sed -n 1,3p run.csv
hysgd train $run --epochs 2 --json
echo "--- any number of threads gives the same model:"
for workers in 1 2 5; do
    hysgd train $run --runtime threads --deterministic --workers $workers --epochs 3 --save $workers.safetensors >/dev/null || exit
    hysgd predict $workers.safetensors --count 20 >$workers.csv
done
cmp 1.csv 2.csv && cmp 1.csv 5.csv && echo the same
echo "--- resumed:"
hysgd train $run --epochs 4 --save whole.safetensors >/dev/null || exit
hysgd train $run --epochs 2 --save part.safetensors >/dev/null || exit
hysgd train -q --resume part.safetensors --epochs 4 --save part.safetensors >/dev/null || exit
hysgd predict whole.safetensors >whole.csv
hysgd predict part.safetensors >part.csv
cmp whole.csv part.csv && echo the same
echo "--- from a file:"
for how in "" "" --stream; do
    hysgd train $run --epochs 4 --layout ratings.laid-out $how --save whole.safetensors >/dev/null || exit
    hysgd predict whole.safetensors >again.csv
    cmp whole.csv again.csv && echo the same
done
hysgd train $run --layout run.csv || echo $?
hysgd train $run --stream || echo $?
echo "--- evaluate:"
hysgd evaluate run.safetensors
hysgd evaluate run.safetensors --split validation --json
hysgd evaluate run.safetensors --top 5 --relevant 4 --limit 100
echo "--- predict:"
hysgd predict run.safetensors --count 2
printf '1,2\n7,nobody\n' >pairs.csv
hysgd predict run.safetensors --pairs pairs.csv
hysgd predict run.safetensors --user 1 --item 2 --format json
echo "--- recommend:"
hysgd recommend run.safetensors --user 7 --top 3 --skip-seen
hysgd recommend run.safetensors --all --top 2 | wc -l
printf 'anna 1 5\nanna 2 1\nanna 3 4\n"b,c" 1 2\n' >new
hysgd recommend run.safetensors --ratings new --top 2 --skip-seen
hysgd recommend run.safetensors --ratings new --user anna --top 1 --format json
echo "--- new items, and new users who rate them:"
awk 'BEGIN { for (i = 1; i <= 60; i++) print i, "new", i % 2 ? 8 : 1 }' >items
printf 'anna new 8\nanna 2 8\nanna 3 7\nberta 2 1\n' >users
for item in new 2; do hysgd predict run.safetensors --new-items items --user 8 --item $item | tail -n 1; done
hysgd predict run.safetensors --user 8 --item 2 | tail -n 1
for user in anna berta; do hysgd predict run.safetensors --new-users users --user $user --item 3 | tail -n 1; done
hysgd recommend run.safetensors --new-items items --user 1 --top 60 | grep -c new
hysgd recommend run.safetensors --new-items items --ratings users --skip-seen --top 60 | cut -d, -f1 | sort | uniq -c | sed 's/^ *//'
hysgd train $run --epochs 1 --policy sync --partition rows --save policy.safetensors >/dev/null
hysgd recommend policy.safetensors --new-items items --user 1 --top 61 | grep -c new
echo "--- ids in quotes, as they are printed:"
printf 'user,item,value\n"a, b","say ""c""",3\nd,"say ""c""",4\nd,e,5\n"a, b",e,2\n' >quoted.csv
hysgd train -q --data ratings:quoted.csv,split=none --model factors,rank=1,instructions=plain --epochs 1 --runtime virtual --save quoted.safetensors >/dev/null
hysgd recommend quoted.safetensors --all --top 1 >top.csv
sed 's/,[0-9]*,/,/; s/,place//' top.csv >pairs.csv
cut -d, -f1-4 pairs.csv | sed 's/,[-0-9.]*$//'
hysgd predict quoted.safetensors --pairs pairs.csv | cmp - pairs.csv && echo the same
echo "--- a file of ratings that it was not trained on, and its own in another place:"
printf 'd,e,1\n"a, b",e,1\nnew,e,1\n' >other.csv
hysgd evaluate quoted.safetensors --data ratings:other.csv | head -n 1
hysgd predict quoted.safetensors --data ratings:other.csv | cut -d, -f1-2
awk 'BEGIN { for (i = 0; i < 400; i++) print i % 20, (i * 7 + int(i / 20)) % 40, i * i % 5 + 1 }' >own.csv
hysgd train -q --data ratings:own.csv --model factors,rank=1,instructions=plain --epochs 1 --runtime virtual --save own.safetensors >/dev/null
mv own.csv moved.csv
hysgd evaluate own.safetensors --data ratings:moved.csv | head -n 1
hysgd evaluate own.safetensors --data ratings:moved.csv,split=none || echo $?
echo "--- what is wrong with the data for the loss:"
awk 'BEGIN { for (i = 0; i < 16; i++) print int(i / 4), i % 4, 1 + i % 5 }' >full
hysgd train -q --data ratings:full --model factors,rank=1,loss=logistic --epochs 1 --runtime virtual | grep warning
hysgd train -q --data ratings:full --model factors,rank=1,loss=bpr --epochs 1 --runtime virtual | grep -e test -e warning
hysgd train -q --data ratings:full --model factors,rank=1,loss=bpr --epochs 1 --runtime virtual --save full.safetensors >/dev/null
hysgd evaluate full.safetensors
cat full full >twice
hysgd train -q --data ratings:twice,duplicates=sum --model factors,rank=1 --epochs 1 --runtime virtual | grep duplicates
echo "--- beside policies:"
hysgd compare $run --epochs 2 --policy async --scheduler dsgd --batch 8 --optimizer sgd,rate=0.05
hysgd compare $run --policy async --scheduler dsgd --dry-run | grep epochs
echo "--- the log:"
hysgd export run.hylog --csv again.csv && cmp run.csv again.csv && echo the same
