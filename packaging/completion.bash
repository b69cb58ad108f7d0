# bash completion for tokenctl
# shellcheck shell=bash

# Names of keys that the daemon lets this user see; nothing when it does not run.
_tokenctl_keys() {
	tokenctl keys --json 2>/dev/null | grep -oE '"name"[[:space:]]*:[[:space:]]*"[^"]*"' | sed 's/.*"\([^"]*\)"$/\1/'
}

# Options come from the verb's own help, so that they cannot disagree with it.
_tokenctl_options() {
	tokenctl "$@" --help 2>/dev/null | grep -oE -- '(^|[[:space:],])(--[a-z][a-z-]+|-[a-zA-Z])' | tr -d ' ,\t' | sort -u
}

_tokenctl() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local verbs="audit decrypt doctor edit encrypt enroll exec-file get git guard identity keys lock policy recipient rotate run sample set status tokens unlock unset updatekeys verify"
	local verb=${COMP_WORDS[1]-} second=${COMP_WORDS[2]-}
	COMPREPLY=()

	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "$verbs --help --version" -- "$current")
		return
	fi
	case $previous in
	--kind) mapfile -t COMPREPLY < <(compgen -W "p256 x25519 symmetric" -- "$current"); return ;;
	--class) mapfile -t COMPREPLY < <(compgen -W "boot session admin" -- "$current"); return ;;
	--op) mapfile -t COMPREPLY < <(compgen -W "unwrap list admin" -- "$current"); return ;;
	--user) mapfile -t COMPREPLY < <(compgen -u -- "$current"); return ;;
	--group) mapfile -t COMPREPLY < <(compgen -g -- "$current"); return ;;
	--key) mapfile -t COMPREPLY < <(compgen -W "$(_tokenctl_keys)" -- "$current"); return ;;
	esac
	case $verb in
	audit | policy | git)
		if [ "$COMP_CWORD" -eq 2 ]; then
			if [ "$verb" = git ]; then
				mapfile -t COMPREPLY < <(compgen -W "--install merge textconv" -- "$current")
			elif [ "$verb" = audit ]; then
				mapfile -t COMPREPLY < <(compgen -W "rotate show verify" -- "$current")
			else
				mapfile -t COMPREPLY < <(compgen -W "check explain" -- "$current")
			fi
			return
		fi
		[[ $current != -* ]] || mapfile -t COMPREPLY < <(compgen -W "$(_tokenctl_options "$verb" "$second")" -- "$current")
		;;
	*)
		if [[ $current = -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_tokenctl_options "$verb")" -- "$current")
			return
		fi
		case $verb in
		recipient | identity | unlock | lock) mapfile -t COMPREPLY < <(compgen -W "$(_tokenctl_keys)" -- "$current") ;;
		esac
		;;
	esac
	# What is left is a file.
	[ ${#COMPREPLY[@]} -gt 0 ] || mapfile -t COMPREPLY < <(compgen -f -- "$current")
}

complete -o filenames -F _tokenctl tokenctl
