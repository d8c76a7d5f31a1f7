# The word after `echo` is one of our commands and the line was typed at a prompt: run it.
# Everything else is bash's own echo. Written by `echocli shell-init bash`; source it from ~/.bashrc.
#
# At a prompt the shell is interactive, runs no -c string, and nothing (function, sourced file)
# stands between the line and this function. PROMPT_COMMAND and traps look typed to bash:
# say `builtin echo` there.

function echo {
    case ${1-} in
    @PATTERN@)
        if [[ $- == *i* && $- != *c* && ${#FUNCNAME[@]} -eq 1 ]]; then
            \command echocli "$@"
            \return
        fi
        ;;
    esac
    \builtin echo "$@"
}

_echocli_complete() {
    local line word=${COMP_WORDS[COMP_CWORD]}
    local -a words=("${COMP_WORDS[@]}")
    COMPREPLY=()
    if [[ ${words[0]} == echo ]]; then
        if ((COMP_CWORD == 1)); then
            # Our commands first; files too, because echo may be given anything.
            [[ -z $(\compgen -W '@WORDS@' -- "$word") ]] && return
            while IFS= read -r line; do
                COMPREPLY+=("$line")
            done < <(\compgen -W '@WORDS@' -- "$word"; \compgen -f -- "$word")
            return
        fi
        case ${words[1]} in
        @PATTERN@) words[0]=echocli ;;
        *) return ;;
        esac
    fi
    while IFS= read -r line; do
        [[ -n $line ]] && COMPREPLY+=("$line") # nothing at all means: complete files
    done < <(COMP_WORDS="${words[*]}" COMP_CWORD=$COMP_CWORD \
        _ECHOCLI_COMPLETE=complete_bash \command echocli 2>/dev/null)
}

complete -o bashdefault -o default -o filenames -F _echocli_complete echo echocli
