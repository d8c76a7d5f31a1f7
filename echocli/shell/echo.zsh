# The word after `echo` is one of our commands and the line was typed at a prompt: run it.
# Everything else is zsh's own echo. Written by `echocli shell-init zsh`; source it from ~/.zshrc.
#
# At a prompt zsh is at its top level: no function, sourced file, trap or -c string stands
# between the line and this function; substitutions and eval on the line do not count.

function echo {
    case "${1-}" in
    @PATTERN@)
        if [[ -o interactive ]]; then
            local context=$ZSH_EVAL_CONTEXT part
            for part in cmdsubst insubst outsubst equalsubst eval; do
                context=${context//:$part/}
            done
            if [[ $context == toplevel:shfunc ]]; then
                \command echocli "$@"
                \return
            fi
        fi
        ;;
    esac
    \builtin echo "$@"
}

_echocli_complete() {
    local -a arguments=("${(@)words[1,CURRENT]}")
    if [[ $arguments[1] == echo ]]; then
        if (( CURRENT == 2 )); then
            # Our commands first; files too, because echo may be given anything.
            compadd -- @WORDS@
            _default
            return
        fi
        case "$arguments[2]" in
        @PATTERN@) arguments[1]=echocli ;;
        *) _default; return ;;
        esac
    fi
    \eval "$(\command env _TYPER_COMPLETE_ARGS="$arguments" \
        _ECHOCLI_COMPLETE=complete_zsh echocli 2>/dev/null)"
}

_echocli_register() {
    if (( $+functions[compdef] )); then
        compdef _echocli_complete echo echocli
    fi
    precmd_functions=(${precmd_functions:#_echocli_register})
}

# Before compinit has run there is no compdef: wait for the first prompt.
if (( $+functions[compdef] )); then
    compdef _echocli_complete echo echocli
else
    precmd_functions+=(_echocli_register)
fi
