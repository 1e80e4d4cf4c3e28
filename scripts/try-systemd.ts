// Boots systemd in a container with this machine's /usr and runs deploy/systemd/README.md in it: `npm run systemd:test`.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type FakeProcore, startFakeProcore } from '../test/fixtures/procore.ts'

const ROOT = dirname(import.meta.dirname)
const DEPLOY = join(ROOT, 'deploy/systemd')
const PROGRAM = join(ROOT, 'dist/sea/procore-proxy')
/** The container uses this machine's network, on which the fake Procore listens. */
const PORT = Number(process.env.PORT ?? 18_377)
const GIVE_UP_MS = 180_000

/** The unit that the container boots: when its script ends, the container ends with the same result. */
const TRY_SERVICE = `[Unit]
Requires=basic.target
After=basic.target
SuccessAction=exit
FailureAction=exit

[Service]
Type=oneshot
Environment=PORT=${PORT}
ExecStart=/usr/local/stage/try.sh
StandardOutput=append:/usr/local/stage/report
StandardError=inherit
TimeoutStartSec=${GIVE_UP_MS / 1000 - 30}
`

if (process.getuid?.() !== 0 || spawnSync('systemd-nspawn', ['--version']).status !== 0) {
  console.error(
    'This boots systemd: run it as root, with systemd-nspawn (apt-get install systemd-container).',
  )
  process.exit(1)
}
if (!existsSync(PROGRAM)) {
  console.error('First: npm run build:sea')
  process.exit(1)
}
const fake = await startFakeProcore()
const folder = mkdtempSync(join(tmpdir(), 'procore-proxy-systemd-'))
try {
  prepare(fake)
  process.exitCode = await boot()
  console.log(readFileSync(join(folder, 'stage/report'), 'utf8'))
} finally {
  rmSync(folder, { recursive: true, force: true })
  await fake.close()
}

/** Prepares the folder that becomes /usr/local: the unit of the test, and the files that the README's commands install. */
function prepare({ apiUrl, loginUrl }: FakeProcore): void {
  // The service's temporary user has to be able to enter it.
  chmodSync(folder, 0o755)
  const stage = join(folder, 'stage')
  const units = join(folder, 'lib/systemd/system')
  for (const path of [stage, units, join(folder, 'bin')]) mkdirSync(path, { recursive: true })
  writeFileSync(join(units, 'try.service'), TRY_SERVICE)
  copyFileSync(PROGRAM, join(stage, 'procore-proxy'))
  for (const file of ['procore-proxy.service', 'try.sh']) copyFileSync(join(DEPLOY, file), join(stage, file))
  const [commands = '', config = '', dropIn = ''] = [
    ...readFileSync(join(DEPLOY, 'README.md'), 'utf8').matchAll(/^```(?:sh|yaml|ini)\n([\s\S]*?)^```$/gm),
  ].map(([, block = '']) => block.replaceAll('8377', String(PORT)).replaceAll('0123abcd', 'demo-client'))
  writeFileSync(join(stage, 'commands.sh'), `set -x\n${commands}set +x\n`)
  writeFileSync(join(stage, 'client-secret'), 'demo-secret\n')
  const more = `listen: 127.0.0.1:${PORT}\nenvironment: fake\nenvironments: { fake: { apiUrl: "${apiUrl}", loginUrl: "${loginUrl}" } }\n`
  writeFileSync(join(stage, 'config.yaml'), more + config)
  const fakeUrls = `PROCORE_API_URL=${apiUrl} PROCORE_LOGIN_URL=${loginUrl} PROCORE_PROXY_LISTEN=127.0.0.1:${PORT}`
  writeFileSync(join(stage, 'drop-in.conf'), `${dropIn}Environment=${fakeUrls}\n`)
}

/** Boots an empty root with this machine's /usr, read-only, and its network. Returns the status of the test. */
async function boot(): Promise<number> {
  const args = ['--quiet', '--register=no', '--keep-unit', '--boot', '--directory=/', '--volatile=yes']
  const more = [
    '--console=pipe',
    '--machine=procore-proxy',
    `--bind=${folder}:/usr/local`,
    'systemd.unit=try.service',
  ]
  const child = spawn('systemd-nspawn', [...args, ...more], { stdio: ['ignore', 'pipe', 'inherit'] })
  let console = ''
  child.stdout.on('data', (chunk) => {
    console += chunk
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), GIVE_UP_MS)
  const [code, signal] = await once(child, 'close')
  clearTimeout(timer)
  if (code !== 0) process.stdout.write(console)
  return signal === null ? code : 1
}
