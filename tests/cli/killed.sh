# SPDX-License-Identifier: Apache-2.0
# A run that is killed leaves a log that is whole up to its last moments, and a trace that lacks its end only.
hysgd train -q --model softmax --data digits,train=400,test=100 --workers 2 --batch 4 --policy async --epochs 1000000 --log run.hylog --trace run.json >out 2>err &
process=$!
tries=0
until [ "$(cat run.hylog 2>/dev/null | wc -c)" -gt 20000 ] || [ $tries -ge 300 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -9 $process
wait $process 2>out
hysgd export run.hylog --jsonl run.jsonl --csv run.csv --report run.html 2>err
echo "$?"
sed 's/[0-9]\{3,\}/N/g' err
[ "$(wc -l <run.jsonl)" -gt 200 ] && tail -n 1 run.jsonl | grep -o '"reason":"[^"]*"'
{ sed '$d' run.json | sed '$s/,$//'; echo ']'; } >whole.json
if command -v python3 >/dev/null; then
    python3 -c 'import json; print(len(json.load(open("whole.json"))) > 200)'
else
    echo True
fi
