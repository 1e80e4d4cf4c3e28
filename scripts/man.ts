// The manual page, docs/procore-proxy.1, made from the same table as the help (roff, man(7)).
import type { Argument, Option } from 'commander'
import { COMMANDS, type CommandSpec } from '../src/cli/commands.ts'
import { PROGRAM, SUMMARY } from '../src/cli/program.ts'

/** The whole page. */
export function manualPage(): string {
  const commands = COMMANDS.filter(({ hidden }) => !hidden)
  return `.\\" Made by npm run generate from src/cli/commands.ts.
.TH PROCORE-PROXY 1 "" "" "procore-proxy"
.SH NAME
${PROGRAM} \\- ${roff(SUMMARY.replace(/^A /, 'a ').replace(/\.$/, ''))}
.SH SYNOPSIS
.B ${roff(PROGRAM)}
[\\fIcommand\\fR] [\\fIflags\\fR]
.SH DESCRIPTION
Programs send plain HTTP requests to an address on this machine, by default http://127.0.0.1:8377. The proxy gets and
renews access tokens of Procore and passes the requests on with the token and the company header added.
.PP
Without a command, \\fBstart\\fR runs.
.SH COMMANDS
${commands.map(commandSection).join('')}.SH FILES
.nf
./procore\\-proxy.yaml
./config/procore\\-proxy.yaml
$XDG_CONFIG_HOME/procore\\-proxy/config.yaml
/etc/procore\\-proxy/config.yaml
.fi
.PP
The first of these that exists is the configuration file, unless \\fB\\-\\-config\\fR or PROCORE_PROXY_CONFIG names another.
.SH SEE ALSO
The documentation in the folder docs of the package, beginning with README.md.
`
}

function commandSection(spec: CommandSpec): string {
  const { name, about, arguments: list = [], options = [], examples, variables, exits, docs } = spec
  const words = list.map((argument) => ` \\fI${roff(placeholderOf(argument))}\\fR`).join('')
  const flags = options.length === 0 ? '' : ' [\\fIflags\\fR]'
  return `.SS ${roff(name)}
.B ${roff(`${PROGRAM} ${name}`)}
${(words + flags).trim() || '.br'}
.PP
${roff(about)}
${options.map(optionLines).join('')}.PP
Examples:
.PP
.nf
${examples.map((line) => `  ${roff(line)}\n`).join('')}.fi
${variables === undefined ? '' : `.PP\nEnvironment variables:\n.PP\n.nf\n${variables.map((line) => `  ${roff(line)}\n`).join('')}.fi\n`}.PP
Exit status: ${exits
    .flatMap((when, status) => (when === '' ? [] : `\\fB${status}\\fR ${roff(when)}`))
    .join(' ')}
.PP
Documentation: ${roff(docs)}
`
}

/** As in `<url>` or `[company...]`. */
function placeholderOf(argument: Argument): string {
  const name = argument.name() + (argument.variadic ? '...' : '')
  return argument.required ? `<${name}>` : `[${name}]`
}

function optionLines(option: Option): string {
  const { flags, description, argChoices, defaultValue, defaultValueDescription } = option
  const extra = [
    argChoices && `one of ${argChoices.join(', ')}`,
    defaultValue !== undefined && `default: ${defaultValueDescription ?? defaultValue}`,
  ].filter(Boolean)
  return `.TP
.B ${roff(flags)}
${roff(description)}${extra.length === 0 ? '' : ` (${roff(extra.join('; '))})`}
`
}

/** Text in which nothing is an instruction of roff. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/, '\\&$1')
}
