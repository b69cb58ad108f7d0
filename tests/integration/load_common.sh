# shellcheck shell=bash
# What the tests of load share; sourced after refusals.sh or lab.sh. It gives them a tokend whose socket everybody may use, keys of an honest user and of abusers, and the messages to send.

LOAD_FIRST_UID=64001 # of 15
LOAD_CALLS=

# load_world D: a tokend in D, everything that the load programs need; LOAD_CALLS is then the directory of messages. Its working directory is D.
load_world() {
	local work=$1 uid box_key
	uid=$(id -u)
	mkdir -p "$work/policy.d"
	chmod 700 "$work/policy.d"
	{
		echo "permit unwrap list admin key * user $uid"
		echo "permit unwrap list key abuse/* user $(seq -s ' ' $LOAD_FIRST_UID $((LOAD_FIRST_UID + 14)))"
	} | lab_policy "$work"
	lab_start "$work"
	echo 246-810 >pin
	tokenctl enroll --name honest/device >/dev/null 2>&1
	tokenctl enroll --name honest/sealed --kind x25519 >/dev/null 2>&1
	tokenctl enroll --name abuse/device >/dev/null 2>&1
	tokenctl enroll --name abuse/sealed --kind x25519 >/dev/null 2>&1
	tokenctl enroll --name abuse/safe --class session --pin-file pin >/dev/null 2>&1
	head -c 100 /dev/urandom >plain
	for key in honest/device honest/sealed abuse/device abuse/sealed abuse/safe; do
		tokenctl encrypt -k "$key" -o "${key/\//-}.age" plain
	done
	box_key=$("$LAB_TOOLS/call" "$work/run/control.sock" io.tokend.GetTokens | python3 -c 'import json, sys; print(json.load(sys.stdin)["tokens"][0]["boxKey"])')
	"$LAB_TOOLS/messages" "$work/calls" honest-sealed=unwrap:honest-sealed.age honest-device=unwrap:honest-device.age \
		sealed=unwrap:abuse-sealed.age device=unwrap:abuse-device.age denied=unwrap:honest-sealed.age:honest/sealed many=many:256 \
		"wrong-pin=wrong-pin:abuse/safe:$box_key"
	LOAD_CALLS=$work/calls
	# The daemon's directories are private in this mode; the socket is opened to everybody by hand.
	chmod 711 "$work"
	chmod 755 "$work/run"
	chmod 666 "$work/run/control.sock"
}

# load_uid: the first uid of the abusers: users of their own where we can make them, else 0, and it is said.
load_uid() {
	if [ "$(id -u)" -eq 0 ]; then
		echo $LOAD_FIRST_UID
	else
		echo "NOT ROOT: the abusers are the same user as the honest client; that users take turns is NOT shown here" >&2
		echo 0
	fi
}
