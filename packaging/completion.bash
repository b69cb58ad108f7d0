# bash completion for tokenctl
# shellcheck shell=bash

# Names of keys that the daemon lets this user see; nothing when it does not run.
_tokenctl_keys() {
	tokenctl keys --json 2>/dev/null | grep -oE '"name"[[:space:]]*:[[:space:]]*"[^"]*"' | sed 's/.*"\([^"]*\)"$/\1/'
}

_tokenctl_tokens() {
	tokenctl tokens --json 2>/dev/null | grep -oE '"uri"[[:space:]]*:[[:space:]]*"[^"]*"' | sed 's/.*"\([^"]*\)"$/\1/'
}

# _tokenctl_values KIND CURRENT: what may stand where tokenctl's own words say KIND; a file where they say nothing that is known.
_tokenctl_values() {
	case $1 in
	*KEY*) compgen -W "$(_tokenctl_keys)" -- "$2" ;;
	FILE\|DIR* | *FILE* | *[[]PATTERN*) compgen -f -- "$2" ;;
	*\|*) compgen -W "${1//|/ }" -- "$2" ;;
	DIR) compgen -d -- "$2" ;;
	URI) compgen -W "$(_tokenctl_tokens)" -- "$2" ;;
	USER) compgen -u -- "$2" ;;
	GROUP) compgen -g -- "$2" ;;
	esac
}

# What follows WORD in the lines of standard input that begin with it. What was typed is compared, and is no part of a pattern or a program.
_tokenctl_behind() {
	local line
	while read -r line; do
		[ "${line%% *}" != "$1" ] || echo "${line#"$1"}"
	done
}

_tokenctl() {
	local -a words=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
	local -a verb
	local current=${COMP_WORDS[COMP_CWORD]} kinds kind
	COMPREPLY=()

	[ "${words[0]-}" != help ] || words=("${words[@]:1}")
	if [ ${#words[@]} -eq 0 ]; then
		kinds=$(tokenctl --completion-words 2>/dev/null | cut -d' ' -f1 | sort -u)
		[ "$COMP_CWORD" -gt 1 ] || kinds+=" help --help --version"
		mapfile -t COMPREPLY < <(compgen -W "$kinds" -- "$current")
		return
	fi
	# Some verbs are of two words.
	verb=("${words[0]}")
	kinds=$(tokenctl --completion-words 2>/dev/null | _tokenctl_behind "${verb[0]}")
	if [[ $kinds = *[![:space:]]* ]]; then
		if [ ${#words[@]} -eq 1 ]; then
			mapfile -t COMPREPLY < <(compgen -W "$kinds" -- "$current")
			return
		fi
		verb+=("${words[1]}")
	fi
	# What follows in the command of run and exec-file is that program's.
	if [[ " ${words[*]} " = *' -- '* ]]; then
		[ "${words[-1]}" != -- ] || mapfile -t COMPREPLY < <(compgen -c -- "$current")
		[ ${#COMPREPLY[@]} -gt 0 ] || mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return
	fi
	# "--option KIND" a line, and one "argument KIND".
	kinds=$(tokenctl --completion-words "${verb[@]}" 2>/dev/null)
	kind=
	[[ ${words[-1]} != -* ]] || kind=$(_tokenctl_behind "${words[-1]}" <<<"$kinds")
	kind=${kind# }
	if [ -n "$kind" ]; then
		mapfile -t COMPREPLY < <(_tokenctl_values "$kind" "$current")
	elif [[ $current = -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(cut -d' ' -f1 <<<"$kinds" | grep '^-')" -- "$current")
	else
		mapfile -t COMPREPLY < <(_tokenctl_values "$(_tokenctl_behind argument <<<"$kinds")" "$current")
	fi
}

complete -o filenames -F _tokenctl tokenctl
