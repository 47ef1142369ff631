"""Help for people, and for shells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from quorate.cmd.ctl.failures import ERROR, Fail
from quorate.cmd.ctl.flags import BOOL, STRING, Flag
from quorate.cmd.utl.commands import COMMANDS, GLOBAL_FLAGS, GROUPS, Command
from quorate.pkg.goflag import format_duration

PROGRAM = "etcdutl"


def command_usage(command: Command) -> str:
    """How to call one command."""
    use = " ".join(filter(None, (PROGRAM, *command.words, command.arguments)))
    lines = ["Usage:", f"  {use} [flags]", "", "Flags:", *_flag_lines([*command.flags, _help_for(command.words[-1])])]
    return "\n".join([*lines, "", "Global Flags:", *_flag_lines(GLOBAL_FLAGS)]) + "\n"


def group_usage(words: Sequence[str] = ()) -> str:
    """Which commands begin with these words."""
    depth = len(words)
    name = " ".join((PROGRAM, *words))
    below: dict[str, str] = {}
    for command in COMMANDS:
        if command.words[:depth] == tuple(words) and len(command.words) > depth:
            short = command.short if len(command.words) == depth + 1 else GROUPS[(command.words[depth],)]
            below[command.words[depth]] = short
    if not words:
        below["help"] = "Print help for a command"
    width = max(len(word) for word in below) + 3
    flags = [_help_for(words[-1] if words else PROGRAM)]
    lines = ["Usage:", f"  {name} [command]", "", "Available Commands:"]
    lines += [f"  {word:{width}}{below[word]}" for word in sorted(below)]
    lines += ["", "Flags:", *_flag_lines(flags if words else [*flags, *GLOBAL_FLAGS])]
    if words:
        lines += ["", "Global Flags:", *_flag_lines(GLOBAL_FLAGS)]
    return "\n".join([*lines, "", f'Use "{name} [command] --help" for more information about a command.']) + "\n"


def _help_for(word: str) -> Flag:
    return Flag("help", BOOL, False, f"help for {word}", "h")


def _flag_lines(flags: Iterable[Flag]) -> list[str]:
    heads = []
    for flag in sorted(flags, key=lambda flag: flag.name):
        short = f"-{flag.short}, " if flag.short else "    "
        heads.append((f"  {short}--{flag.name}{'' if flag.kind == BOOL else ' ' + flag.kind}", flag))
    width = max(len(head) for head, _ in heads) + 3
    return [f"{head:{width}}{flag.usage}{_default(flag)}" for head, flag in heads]


def _default(flag: Flag) -> str:
    if not flag.default:
        return ""
    if flag.kind == STRING:
        return f' (default "{flag.default}")'
    value = format_duration(flag.default) if flag.kind == "duration" else str(flag.default).lower()
    return f" (default {value})"


def completion(shell: str) -> str:
    """A script for `shell` that completes commands, and the flags of each. Raises Fail."""
    words: dict[str, list[str]] = {}
    for command in COMMANDS:
        for depth, word in enumerate(command.words):
            before = " ".join(command.words[:depth])
            if word not in words.setdefault(before, []):
                words[before].append(word)
        flags = [f"--{flag.name}" for flag in (*command.flags, *GLOBAL_FLAGS)]
        words[" ".join(command.words)] = flags
    makers = {"bash": _bash, "zsh": _zsh, "fish": _fish, "powershell": _powershell}
    if shell not in makers:
        raise Fail(ERROR, f'invalid argument "{shell}" for "{PROGRAM} completion"')
    return makers[shell](words)


def _bash(words: dict[str, list[str]]) -> str:
    cases = "\n".join(f'    "{before}") found="{" ".join(after)}" ;;' for before, after in words.items())
    return f"""# bash completion for {PROGRAM}
_{PROGRAM}() {{
  local before="" word found=""
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$word" in -*) continue ;; esac
    [ "${{before:-snapshot}}" != snapshot ] || before="${{before:+$before }}$word"
  done
  case "$before" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$found" -- "${{COMP_WORDS[COMP_CWORD]}}"))
  [ ${{#COMPREPLY[@]}} -gt 0 ] || COMPREPLY=($(compgen -f -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -F _{PROGRAM} {PROGRAM}
"""


def _zsh(words: dict[str, list[str]]) -> str:
    return f"#compdef {PROGRAM}\nautoload -U +X bashcompinit && bashcompinit\n{_bash(words)}"


def _fish(words: dict[str, list[str]]) -> str:
    lines = [f"# fish completion for {PROGRAM}"]
    for before, after in words.items():
        seen = f"__fish_seen_subcommand_from {before.split()[-1]}" if before else "__fish_use_subcommand"
        for word in after:
            what = f"-l {word[2:]}" if word.startswith("--") else f"-f -a {word}"
            lines.append(f"complete -c {PROGRAM} -n '{seen}' {what}")
    return "\n".join(lines) + "\n"


def _powershell(words: dict[str, list[str]]) -> str:
    tables = "\n".join(f"    '{before}' = @({', '.join(map(repr, after))})" for before, after in words.items())
    return f"""# powershell completion for {PROGRAM}
Register-ArgumentCompleter -Native -CommandName '{PROGRAM}' -ScriptBlock {{
  param($word, $line, $position)
  $known = @{{
{tables}
  }}
  $before = ($line.CommandElements | Select-Object -Skip 1 | ForEach-Object {{ "$_" }} |
    Where-Object {{ $_ -notlike '-*' -and $_ -ne $word }}) -join ' '
  $known[$before] | Where-Object {{ $_ -like "$word*" }} | ForEach-Object {{ $_ }}
}}
"""
