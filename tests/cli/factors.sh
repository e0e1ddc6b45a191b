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
echo "--- the log:"
hysgd export run.hylog --csv again.csv && cmp run.csv again.csv && echo the same
