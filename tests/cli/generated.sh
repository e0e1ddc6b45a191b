# SPDX-License-Identifier: Apache-2.0
# Completion and manual are printed from the same tables as the help.
hysgd list --completion bash >completion
if command -v bash >/dev/null; then
    bash -n completion || exit 1
    bash -c '. ./completion
        complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _hysgd; echo "${COMPREPLY[@]}"; }
        complete_words hysgd tr
        complete_words hysgd train --work
        complete_words hysgd train --combine ""
        complete_words hysgd train --combine = s
        complete_words hysgd list pol
        complete_words hysgd compare --policy thr'
else
    echo "skipped because there is no bash"
    exit 77
fi
hysgd list --man >manual
grep -c '^\.SS hysgd' manual
for word in '\\-\\-workers' threshold adamw lenet; do grep -q -e "$word" manual || echo "$word is not in the manual"; done
if command -v groff >/dev/null; then groff -man -Tascii -ww manual 2>&1 >/dev/null | head -n 3; fi
