// The completion scripts for bash, zsh, fish and PowerShell, made from the table of commands. They ask the program for company names.

import type { Argument, Option } from 'commander'
import { COMMANDS } from '../src/cli/commands.ts'
import { FORWARDED_METHODS } from '../src/config/access-rules.ts'
import { BUILT_IN_ENVIRONMENTS } from '../src/config/config.ts'

/** What an argument or the value of a flag can be: some words, or what `offers` names, or free text. */
interface CompletedValue {
  readonly words: readonly string[]
  readonly offers?: string | undefined
}

interface CompletedFlag {
  readonly names: readonly string[]
  readonly about: string
  /** Missing where the flag takes no value. */
  readonly value?: CompletedValue
}

interface CompletedCommand {
  readonly name: string
  readonly about: string
  readonly flags: readonly CompletedFlag[]
  readonly argument?: CompletedValue
}

type Commands = readonly CompletedCommand[]

const SCRIPTS = { bash, zsh, fish, powershell } as const

/** The script for a shell. */
export function completionScript(shell: keyof typeof SCRIPTS): string {
  return SCRIPTS[shell](completedCommands())
}

const COMPANIES = 'procore-proxy completion --companies'

const lines = (list: readonly string[], indent = ''): string =>
  list.map((line) => `${indent}${line}\n`).join('')
const names = (commands: Commands): string[] => commands.map(({ name }) => name)

function completedCommands(): CompletedCommand[] {
  return COMMANDS.filter(({ hidden }) => !hidden).map(
    ({ name, summary, options = [], arguments: [argument] = [] }) => ({
      name,
      about: summary,
      flags: [...options.map(completedFlag), { names: ['-h', '--help'], about: 'show the help' }],
      ...(argument && { argument: argumentValue(argument) }),
    }),
  )
}

function completedFlag({ flags, description: about, argChoices, long }: Option) {
  const names = flags.match(/-{1,2}[a-z-]+(?=,| |$)/gi) ?? []
  const [, name] = /<(\w+)>/.exec(flags) ?? []
  if (name === undefined) return { names, about }
  const words = long === '--environment' ? BUILT_IN_ENVIRONMENTS.map(({ name }) => name) : (argChoices ?? [])
  return { names, about, value: { offers: offersFor(name), words } }
}

function argumentValue(argument: Argument): CompletedValue {
  const name = argument.name()
  return {
    offers: offersFor(name),
    words: name === 'method' ? FORWARDED_METHODS : (argument.argChoices ?? []),
  }
}

/** What the name of a value has a shell offer. */
function offersFor(name: string): string | undefined {
  return ['file', 'folder', 'company', 'method'].includes(name) ? name : undefined
}

function bash(commands: Commands): string {
  const set = ({ words, offers }: CompletedValue) =>
    offers === undefined || words.length > 0 ? `kind=words words='${words.join(' ')}'` : `kind=${offers}`
  const cases = commands.map(({ name, flags, argument }) => {
    const values = flags.flatMap(({ names, value }) =>
      value ? [`${names.join('|')}) ${set(value)} ;;`] : [],
    )
    return `    ${name})
      flags='${flags.flatMap(({ names }) => names).join(' ')}'
      case $prev in
${lines(values, '        ')}        *) ${argument ? set(argument) : 'kind=words words='} is_argument=yes ;;
      esac ;;
`
  })
  return `# bash completion for procore-proxy. In ~/.bashrc: source <(procore-proxy completion bash)
_procore_proxy() {
  local IFS=$' \\t\\n' cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]}
  local command=start commands=' ${names(commands).join(' ')} ' flags kind words is_argument='' config='' i
  # bash takes --flag=value for three words.
  if [[ $cur == '=' ]]; then cur=''; elif [[ $prev == '=' ]]; then prev=\${COMP_WORDS[COMP_CWORD-2]}; fi
  if ((COMP_CWORD > 1)) && [[ $commands == *" \${COMP_WORDS[1]} "* ]]; then command=\${COMP_WORDS[1]}; fi
  case $command in
${cases.join('')}  esac
  if [[ -n $is_argument && $cur == -* ]]; then kind=words words=$flags
  elif [[ -n $is_argument ]] && ((COMP_CWORD == 1)); then kind=words words=$commands; fi
  if [[ $kind == company ]]; then
    for ((i = 1; i < COMP_CWORD; i++)); do
      [[ \${COMP_WORDS[i]} == -c || \${COMP_WORDS[i]} == --config ]] || continue
      config=\${COMP_WORDS[i+1]}
      if [[ $config == '=' ]]; then config=\${COMP_WORDS[i+2]}; fi
    done
    kind=words words=$(${COMPANIES} \${config:+--config "$config"} 2>/dev/null)
  fi
  COMPREPLY=()
  case $kind in
    words) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
    file) compopt -o filenames 2>/dev/null; IFS=$'\\n'; COMPREPLY=($(compgen -f -- "$cur")) ;;
    folder) compopt -o filenames 2>/dev/null; IFS=$'\\n'; COMPREPLY=($(compgen -d -- "$cur")) ;;
  esac
}
complete -F _procore_proxy procore-proxy
`
}

function zsh(commands: Commands): string {
  const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`
  const escaped = (text: string) => text.replaceAll(/[[\]:\\]/g, '\\$&')
  const action = ({ words, offers }: CompletedValue) => {
    if (words.length > 0) return `value:(${words.join(' ')})`
    if (offers === 'file') return 'file:_files'
    if (offers === 'folder') return 'folder:_files -/'
    return offers === 'company' ? 'company:_procore_proxy_companies' : 'value: '
  }
  const spec = ({ names, about, value }: CompletedFlag) => {
    const rest = `[${escaped(about)}]${value ? `:${action(value)}` : ''}`
    const list = names.map((name) => `${name}${value ? (name.startsWith('--') ? '=' : '+') : ''}`)
    // A flag that may be given several times begins with *.
    const repeat = about.includes('repeatable') ? '*' : `(${names.join(' ')})`
    return list.map((name) => quote(`${repeat}${name}${rest}`)).join(' ')
  }
  const cases = commands.map(({ name, flags, argument }) => {
    const specs = [...flags.map(spec), ...(argument ? [quote(`*:${action(argument)}`)] : [])]
    return `    ${name}) _arguments -s ${specs.join(' \\\n      ')} ;;\n`
  })
  return `#compdef procore-proxy
# zsh completion for procore-proxy. In ~/.zshrc, after compinit: source <(procore-proxy completion zsh)
_procore_proxy_companies() {
  local -a found file
  file=(\${opt_args[--config]:-\${opt_args[-c]}})
  found=(\${(f)"$(${COMPANIES} \${file:+--config} $file 2>/dev/null)"})
  compadd -a found
}
_procore_proxy() {
  local command=start
  local -a commands
  commands=(
${lines(
  commands.map(({ name, about }) => quote(`${name}:${about.replaceAll(':', '\\:')}`)),
  '    ',
)}  )
  if ((CURRENT == 2)) && [[ $PREFIX != -* ]]; then
    _describe command commands
    return
  fi
  if ((\${commands[(I)$words[2]:*]})); then
    command=$words[2]
    shift words
    ((CURRENT--))
  fi
  case $command in
${cases.join('')}  esac
}
compdef _procore_proxy procore-proxy
`
}

function fish(commands: Commands): string {
  const quote = (text: string) => `'${text.replaceAll(/['\\]/g, '\\$&')}'`
  const offer = ({ words, offers }: CompletedValue) => {
    if (words.length > 0) return ` -a '${words.join(' ')}'`
    if (offers === 'folder') return " -a '(__fish_complete_directories (commandline -ct))'"
    return offers === 'company' ? ` -a '(${COMPANIES} 2>/dev/null)'` : ''
  }
  const list = names(commands).join(' ')
  const others = names(commands)
    .filter((name) => name !== 'start')
    .join(' ')
  const of = (name: string) =>
    quote(
      name === 'start' ? `not __fish_seen_subcommand_from ${others}` : `__fish_seen_subcommand_from ${name}`,
    )
  const flagLine = (command: string, { names, about, value }: CompletedFlag) => {
    const flags = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`))
    const kind = value === undefined ? '' : value.offers === 'file' ? ' -rF' : ` -x${offer(value)}`
    return `complete -c procore-proxy -n ${of(command)} ${flags.join(' ')}${kind} -d ${quote(about)}`
  }
  const perCommand = commands.flatMap(({ name, about, flags, argument }) => [
    `complete -c procore-proxy -n 'not __fish_seen_subcommand_from ${list}' -a ${name} -d ${quote(about)}`,
    ...flags.map((flag) => flagLine(name, flag)),
    ...(argument === undefined
      ? []
      : [`complete -c procore-proxy -n ${of(name)}${argument.offers === 'file' ? ' -F' : offer(argument)}`]),
  ])
  return `# fish completion for procore-proxy. In config.fish: procore-proxy completion fish | source
complete -c procore-proxy -e
complete -c procore-proxy -f
${lines(perCommand)}`
}

function powershell(commands: Commands): string {
  return `# PowerShell completion for procore-proxy. In $PROFILE: procore-proxy completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName procore-proxy -ScriptBlock {
  param($wordToComplete, $commandAst, $cursorPosition)
  $commands = @'
${JSON.stringify(commands).replaceAll("'", '’')}
'@ | ConvertFrom-Json
  $words = @($commandAst.CommandElements | ForEach-Object { "$_" })
  # The word before the one that is being completed.
  $before = if ($wordToComplete) { $words[-2] } else { $words[-1] }
  $command = $commands | Where-Object { $_.name -eq $words[1] }
  $isFirst = $words.Count - [int][bool]$wordToComplete -le 1
  if (-not $command) { $command = $commands | Where-Object { $_.name -eq 'start' } }
  $value = ($command.flags | Where-Object { $_.names -contains $before }).value
  if (-not $value) { $value = $command.argument }
  $found = if ($wordToComplete -like '-*') { $command.flags.names }
    elseif ($isFirst) { $commands.name }
    elseif ($value.offers -eq 'company') { ${COMPANIES} 2>$null }
    else { $value.words }
  # Where nothing is found, PowerShell offers files.
  $found | Where-Object { $_ -like "$wordToComplete*" } | ForEach-Object {
    [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
  }
}
`
}
