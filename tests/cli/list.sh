# SPDX-License-Identifier: Apache-2.0
# What there is: the JSON parses, agrees with the text, and every name can be looked up and used.
if ! command -v python3 >/dev/null; then
    echo "skipped because python3 is not installed"
    exit 77
fi
hysgd list --json >all.json
python3 - <<'PYTHON'
import json, subprocess
everything = json.load(open("all.json"))
print(sorted(everything))
text = subprocess.run(["hysgd", "list"], capture_output=True, text=True, check=True).stdout
for kind, entries in everything.items():
    assert entries, kind
    for entry in entries:
        assert "  " + entry["name"] in text, entry["name"]
        one = json.loads(subprocess.run(["hysgd", "list", "--json", entry["name"]], capture_output=True, check=True).stdout)
        assert one["name"] == entry["name"]
        assert entry["summary"], entry["name"]
        for option in entry["options"]:
            assert option["key"] and option["help"], (entry["name"], option)
        if kind == "policies":
            subprocess.run(["hysgd", "train", "--dry-run", "--workers", "4", "--policy", entry["name"]], check=True, capture_output=True)
PYTHON
echo "$?"
hysgd list sync
hysgd list smooth-switch | sed -n 1p
