// The service files in deploy/: what their keys say holds for the program, and the tools of their systems accept them.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import ms, { type StringValue } from 'ms'
import t from 'tap'
import { EXIT } from '../../src/cli/exit.ts'
import { fileSchema } from '../../src/config/schema.ts'
import { get, run, runToEnd, startPlace } from '../fixtures/cli.ts'

const root = join(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(root, 'deploy', path), 'utf8')
const has = (program: string, ...args: string[]) => spawnSync(program, args).status === 0

const { shutdownTimeout } = fileSchema.parse({})
const PROGRAM = '/usr/local/bin/procore-proxy'
const UNIT = 'systemd/procore-proxy.service'
const PLIST = 'launchd/local.procore-proxy.plist'

/** The last value of a key of the unit; of lists all of them. */
function unitValues(key: string): string[] {
  return [...read(UNIT).matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value = '']) => value)
}

t.test('the systemd unit', async (t) => {
  const one = (key: string) => unitValues(key).join('\n')
  t.equal(one('ExecStart'), `${PROGRAM} start`)
  t.match(one('ExecStartPost'), new RegExp(`^${PROGRAM} wait --timeout \\d+s$`))
  t.equal(one('ExecReload'), 'kill -HUP $MAINPID')
  t.ok(ms(one('TimeoutStopSec') as StringValue) > shutdownTimeout, 'there is time for a drain')
  t.match([one('Restart'), one('RestartPreventExitStatus')], ['on-failure', String(EXIT.badConfig)])
  const [, credential = ''] = /^(\w+):\/etc\/procore-proxy\/\w+$/.exec(one('LoadCredential')) ?? []
  t.match(
    read('systemd/README.md'),
    `{ file: /run/credentials/procore-proxy.service/${credential}_app }`,
    'the README names the credential as systemd does',
  )
  for (const key of ['DynamicUser', 'NoNewPrivileges', 'PrivateTmp', 'PrivateDevices', 'RestrictNamespaces'])
    t.equal(one(key), 'yes', key)
  t.equal(one('ProtectSystem'), 'strict')
  t.equal(one('CapabilityBoundingSet'), '', 'no capability')
  t.equal(one('RestrictAddressFamilies'), 'AF_INET AF_INET6 AF_UNIX')
  t.match(unitValues('SystemCallFilter'), ['@system-service', '~@privileged @resources'])
  t.strictSame(unitValues('MemoryDenyWriteExecute'), [], 'V8 could not run')
})

const SYSTEMD = has('systemd-analyze', '--version') ? {} : { skip: 'no systemd-analyze here' }

t.test('systemd-analyze has nothing to say of the unit, and scores it below 2', SYSTEMD, async (t) => {
  // It looks for the program, and is content with any.
  const folder = t.testdir({
    'procore-proxy.service': read(UNIT).replaceAll(PROGRAM, process.execPath),
    'wrong.service': read(UNIT).replaceAll(PROGRAM, process.execPath).replace('UMask', 'UMsk'),
  })
  const verify = (unit: string) => {
    const args = ['verify', '--man=no', join(folder, unit)]
    const { status, stdout, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' })
    return { status, text: stdout + stderr }
  }
  t.strictSame(verify('procore-proxy.service'), { status: 0, text: '' })
  t.match(verify('wrong.service').text, /Unknown key/, 'whose status is 0 for an unknown key')
  const args = ['security', '--offline=yes', '--threshold=19', '--no-pager', join(root, 'deploy', UNIT)]
  const { status, stdout } = spawnSync('systemd-analyze', args, { encoding: 'utf8' })
  const [, score = ''] = /exposure level for \S+: (\d+\.\d+)/.exec(stdout) ?? []
  t.equal(status, 0, `${score} is below 2`)
  t.match(read('systemd/README.md'), `\`systemd-analyze security\`: ${score}`, 'as the README says')
})

const PYTHON = has('python3', '--version') ? {} : { skip: 'no python3 here, whose plistlib reads the file' }

t.test('the launch agent', PYTHON, async (t) => {
  const script = 'import json, plistlib, sys; print(json.dumps(plistlib.load(open(sys.argv[1], "rb"))))'
  const { stdout } = spawnSync('python3', ['-c', script, join(root, 'deploy', PLIST)], { encoding: 'utf8' })
  const agent = JSON.parse(stdout) as {
    Label: string
    ProgramArguments: string[]
    EnvironmentVariables: Record<string, string>
    ExitTimeOut: number
    StandardOutPath: string
  }
  t.equal(`launchd/${agent.Label}.plist`, PLIST)
  t.ok(agent.ExitTimeOut * 1000 > shutdownTimeout, 'there is time for a drain')
  t.match(agent, {
    RunAtLoad: true,
    KeepAlive: { SuccessfulExit: false },
    Umask: 0o077,
    StandardOutPath: /^HOME\/Library\/Logs\//,
  })
  const [program, ...words] = agent.ProgramArguments
  t.equal(program, PROGRAM)
  const { folder, settings } = await startPlace(t)
  // Not the folder of the file: launchd starts it in "/".
  const elsewhere = join(folder, 'elsewhere')
  mkdirSync(elsewhere)
  mkdirSync(join(folder, '.config/procore-proxy'), { recursive: true })
  const file = join(folder, '.config/procore-proxy/config.yaml')
  writeFileSync(file, JSON.stringify(settings()), { mode: 0o600 })
  const env = { ...agent.EnvironmentVariables, HOME: folder, XDG_CONFIG_HOME: '' }
  const proxy = run(t, words, { cwd: elsewhere, env })
  const url = await proxy.ready()
  t.match(await get(t, url, '/acme/rest/v1.0/me'), { status: 200 })
  t.match(await runToEnd(t, ['wait', '--url', url], { cwd: elsewhere, env }), { code: 0 })
  proxy.kill('SIGTERM')
  t.match(await proxy.end(), { code: 0 })
})

t.test('the Windows service', async (t) => {
  const xml = read('windows/procore-proxy-service.xml')
  const of = (tag: string) => new RegExp(`<${tag}>(.*)</${tag}>`).exec(xml)?.[1] ?? ''
  t.match(of('executable'), /\\procore-proxy\.exe$/)
  t.match(await runToEnd(t, [of('arguments'), '--help'], { cwd: t.testdir() }), { code: 0 })
  t.ok(ms(of('stoptimeout') as StringValue) > shutdownTimeout, 'there is time for a drain')
})
