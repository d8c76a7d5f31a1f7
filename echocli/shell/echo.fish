# The word after `echo` is one of our commands and the line was typed at a prompt: run it.
# Everything else is fish's own echo. Written by `echocli shell-init fish`; source it from
# ~/.config/fish/config.fish.

function __echocli_typed --description 'Was the line that called our caller typed at a prompt?'
    status is-interactive; or return 1
    # Interactive, but what runs is a -c string. fish tells of it nowhere else.
    set -q __echocli_at_prompt; or return 1
    # The words of the trace are translated unless the locale says C.
    set -lx LC_ALL C
    set -lx LANGUAGE en
    # One line for each function; this one and echo are two.
    set -l functions (status stack-trace | string match -r '^in function ')
    set -l others (status stack-trace | string match -r '^(?:from sourcing|in event handler)')
    test (count $functions) -eq 2 -a (count $others) -eq 0
end

function __echocli_prompted --on-event fish_prompt
    set -g __echocli_at_prompt
    functions --erase __echocli_prompted
end

function echo --description 'Print arguments, or run an echocli command typed at a prompt'
    switch "$argv[1]"
        case @WORDS@
            if __echocli_typed
                command echocli $argv
                return
            end
    end
    builtin echo $argv
end

function __echocli_complete --description 'Complete the words after a command of echocli'
    set -l line (commandline -cp | string replace -r '^\s*echo\s' 'echocli ')
    set -l found (env _TYPER_COMPLETE_ARGS="$line" _TYPER_COMPLETE_FISH_ACTION=get-args \
        _ECHOCLI_COMPLETE=complete_fish echocli 2>/dev/null | string match --invert "")
    if test (count $found) -gt 0
        string join \n -- $found
    else
        __fish_complete_path (commandline -ct)
    end
end

function __echocli_word --description 'Is the word being completed the first, or after one of ours?'
    set -l words (commandline -opc)
    if test "$argv[1]" = first
        test (count $words) -eq 1
    else
        test (count $words) -gt 1; and contains -- $words[2] @WORDS@
    end
end

complete -c echo -n '__echocli_word first' -a '@WORDS@' -d echocli
complete -c echo -n '__echocli_word rest' -f -a '(__echocli_complete)'
complete -c echocli -f -a '(__echocli_complete)'
