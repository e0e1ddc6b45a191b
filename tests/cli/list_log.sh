# SPDX-License-Identifier: Apache-2.0
# The records of an event log are explained as the reader knows them, in the list, in JSON and in the manual.
hysgd list log
hysgd list log --json >table.json || exit
if command -v python3 >/dev/null; then
    hysgd train -q --runtime virtual --data none --model quadratic,dimension=2 --workers 2 --updates 20 --log run.jsonl >out
    python3 -c '
import json
table = {kind["name"]: {field["name"] for field in kind["fields"]} for kind in json.load(open("table.json"))["log"]}
for line in open("run.jsonl"):
    line = json.loads(line)
    if "event" not in line:
        assert set(line) - {"hysgd_log", "options"} == table["run"]
    elif line["event"] == "end":
        assert set(line) - {"event", "accounts", "classes", "worker_bias", "class_bias"} == table["end"] and set(line["accounts"][0]) == table["account"]
    else:
        assert set(line) - {"event"} == table["event"] | table[line["event"]]
' || exit
fi
hysgd list --man | grep -c '^\.SH EVENT LOG'
