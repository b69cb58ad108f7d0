#!/bin/bash
# The creation rule that tokenctl finds for a path beside the one that a real sops goes by, for random .sops.yaml files (sops_rules.py). usage: sops_rules.sh PEER
#
# The files are of a seed that is printed, TOKEND_TEST_SEED or a new one, and some of seed 1; RULES_FILES says how many (80): for more, RULES_FILES=3000 ctest --test-dir build/release -R interop.sops_rules
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
sops=$(lab_peer "$1") || lab_skip "$sops"
keygen=$(lab_peer age-1.3.1)/age-keygen || lab_skip "there is no age-keygen; type tools/peers age-1.3.1"
lab_need python3
directory=$(lab_directory)
trap 'lab_remove "$directory"' EXIT
cd "$directory"
export HOME=$directory XDG_CONFIG_HOME=$directory
unset SOPS_CONFIG SOPS_AGE_KEY SOPS_AGE_KEY_FILE SOPS_KEYSERVICE
choose=${TOKEND_BIN_DIR:?}/../tests/rules_choose
recipients=()
for _ in 1 2 3 4; do
	recipients+=("$("$keygen" 2>/dev/null | sed -n 's/^# public key: //p')")
done
mkdir tree
cd tree
lab_seed "$0" "$@"
lab_seeded 20 "${RULES_FILES:-80}" python3 -B "$LAB_SOURCE/tests/interop/sops_rules.py" "$sops" "$choose" SEED COUNT "${recipients[@]}"

# Control: the comparison notices another rule: one that is put before the others for tokenctl alone.
cat >"$directory/liar" <<SH
#!/bin/bash
sed '0,/creation_rules:.*/s//creation_rules:\n  - age: ${recipients[3]}/' .sops.yaml >"$directory/lie.yaml"
SOPS_CONFIG=$directory/lie.yaml exec "$choose" "\$@"
SH
chmod +x "$directory/liar"
if python3 -B "$LAB_SOURCE/tests/interop/sops_rules.py" "$sops" "$directory/liar" 1 20 "${recipients[@]}" >/dev/null 2>"$directory/said"; then
	lab_fail "another rule is not noticed"
fi
grep -q '^sops: ' "$directory/said" || lab_fail "the control failed for another reason: $(cat "$directory/said")"

# The nearest file above holds; SOPS_CONFIG names another.
mkdir -p near/by
printf 'creation_rules: [{age: %s}]\n' "${recipients[0]}" >.sops.yaml
printf 'creation_rules: [{path_regex: ^by/x$, age: %s}]\n' "${recipients[1]}" >near/.sops.yaml
[[ $("$choose" near/by/x) = *"${recipients[1]}"* ]] || lab_fail "the nearest does not hold"
[[ $("$choose" near/../y) = *"${recipients[0]}"* ]] || lab_fail "the one above does not hold"
[[ $(cd near/by && "$choose" x) = *"${recipients[1]}"* ]] || lab_fail "from within it does not hold"
[[ $(SOPS_CONFIG=.sops.yaml "$choose" near/by/x) = *"${recipients[0]}"* ]] || lab_fail "SOPS_CONFIG does not hold"
