import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import {
  checkAuditFile,
  chmod,
  findConfigFile,
  homeFolder,
  isOnReadOnlyMount,
  isOpenToOthers,
  isReadOnlyIn,
  readTextFile,
  usualPlaces,
  watchFiles,
  wordsFor,
} from '../../src/config/files.ts'
import { ConfigFolder } from '../fixtures/config-folder.ts'

t.test('the usual places are in the order of the contract', async (t) => {
  const base = { flag: undefined, cwd: '/work', homedir: '/home/ann' }
  const local = ['/work/procore-proxy.yaml', '/work/config/procore-proxy.yaml']
  const etc = '/etc/procore-proxy/config.yaml'
  const ann = '/home/ann/.config/procore-proxy/config.yaml'
  t.strictSame(usualPlaces({ ...base, env: {} }), [...local, ann, etc])
  const xdg = usualPlaces({ ...base, env: { XDG_CONFIG_HOME: '/xdg' } })
  t.strictSame(xdg, [...local, '/xdg/procore-proxy/config.yaml', etc])
  for (const XDG_CONFIG_HOME of ['', 'relative'])
    t.equal(usualPlaces({ ...base, env: { XDG_CONFIG_HOME } })[2], ann)
  const here = usualPlaces({ flag: undefined, env: {}, cwd: '/work' })
  t.equal(here[2], join(homedir(), '.config/procore-proxy/config.yaml'))
  t.intercept(process, 'platform', { value: 'win32' })
  const appData = usualPlaces({ ...base, env: { APPDATA: '/appdata' } })
  t.strictSame(appData, [...local, '/appdata/procore-proxy/config.yaml'])
  t.strictSame(usualPlaces({ ...base, env: {} }), local)
})

t.test('a user without a home has no place there', async (t) => {
  const noHome = () => {
    throw new Error('uv_os_homedir returned ENOENT')
  }
  t.equal(homeFolder(noHome), undefined)
  t.equal(homeFolder(), homedir())
  const base = { flag: undefined, cwd: '/work', homedir: '' }
  t.strictSame(usualPlaces({ ...base, env: {} }), [
    '/work/procore-proxy.yaml',
    '/work/config/procore-proxy.yaml',
    '/etc/procore-proxy/config.yaml',
  ])
  t.equal(usualPlaces({ ...base, env: { XDG_CONFIG_HOME: '/xdg' } })[2], '/xdg/procore-proxy/config.yaml')
})

t.test('each place is taken only where none before it has a file', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const context = { cwd: folder.path, homedir: folder.path }
  const found = (flag: string | undefined, env: NodeJS.ProcessEnv) =>
    findConfigFile({ ...context, flag, env })
  const home = folder.write('.config/procore-proxy/config.yaml', '')
  t.strictSame(await found(undefined, {}), { path: home, namedBy: undefined })
  const xdg = folder.write('xdg/procore-proxy/config.yaml', '')
  const XDG_CONFIG_HOME = join(folder.path, 'xdg')
  t.strictSame(await found(undefined, { XDG_CONFIG_HOME }), { path: xdg, namedBy: undefined })
  const below = folder.write('config/procore-proxy.yaml', '')
  t.strictSame(await found(undefined, { XDG_CONFIG_HOME }), { path: below, namedBy: undefined })
  const local = folder.write('procore-proxy.yaml', '')
  t.strictSame(await found(undefined, { XDG_CONFIG_HOME }), { path: local, namedBy: undefined })
  const PROCORE_PROXY_CONFIG = 'named.yaml'
  const named = { path: join(folder.path, 'named.yaml'), namedBy: 'PROCORE_PROXY_CONFIG' }
  t.strictSame(await found(undefined, { PROCORE_PROXY_CONFIG }), named)
  const flag = { path: '/flag.yaml', namedBy: '--config' }
  t.strictSame(await found('/flag.yaml', { PROCORE_PROXY_CONFIG }), flag)
  t.strictSame(await found('', { PROCORE_PROXY_CONFIG: '' }), { path: local, namedBy: undefined })
})

t.test('a folder of that name is no file', async (t) => {
  t.intercept(process, 'platform', { value: 'win32' })
  const folder = new ConfigFolder(t.testdir())
  mkdirSync(join(folder.path, 'procore-proxy.yaml'))
  folder.write('config', 'a file where a folder would be')
  const { path: cwd } = folder
  t.equal(findConfigFile({ flag: undefined, env: {}, cwd, homedir: cwd }), undefined)
})

t.test('a file that may not be looked at is not passed over', async (t) => {
  const cwd = `${t.testdir()}/${'x'.repeat(300)}`
  const found = await findConfigFile({ flag: undefined, env: {}, cwd })
  t.equal(found?.path, join(cwd, 'procore-proxy.yaml'), 'ENAMETOOLONG is not absence')
})

t.test('a file is given with its text and its permission bits', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const file = folder.write('a', 'é\n', 0o640)
  t.strictSame(await readTextFile(file, 3), { text: 'é\n', mode: 0o640 })
  symlinkSync(file, join(folder.path, 'link'))
  t.strictSame(await readTextFile(join(folder.path, 'link'), 3), { text: 'é\n', mode: 0o640 })
  t.strictSame(await readTextFile(folder.write('empty', ''), 3), { text: '', mode: 0o600 })
})

t.test('a file that cannot be read is told with what to do', async (t) => {
  const folder = new ConfigFolder(t.testdir({ sub: {} }))
  const says = async (file: string, maxBytes = 1024) => {
    const result = await readTextFile(file, maxBytes)
    return 'message' in result ? `${result.message}. ${result.fix}` : 'read'
  }
  t.match(await says(join(folder.path, 'none')), /none does not exist\. Create it, or correct the path/)
  t.match(await says(join(folder.write('f', ''), 'x')), /does not exist/)
  t.match(await says(join(folder.path, 'sub')), /sub is a folder\. Name a file/)
  t.match(await says(folder.write('big', 'x'.repeat(1025))), /big is larger than 1 KiB/)
  t.match(await says(folder.write('fits', 'x'.repeat(1024))), /^read$/)
  t.match(await says('a\0b'), /can't be read \(ERR_INVALID_ARG_VALUE\)/)
  const binary = folder.write('binary', '')
  const { writeFileSync } = await import('node:fs')
  writeFileSync(binary, Buffer.from([0xc3, 0x28]))
  t.match(await says(binary), /binary is not UTF-8 text/)
  for (const bytes of [
    Buffer.from('\ufeffa', 'utf16le'),
    Buffer.from([0xfe, 0xff, 0, 65]),
    Buffer.from('a', 'utf16le'),
    Buffer.from('\ufeff中', 'utf16le'),
    Buffer.from('\ufeff中', 'utf16le').swap16(),
  ]) {
    writeFileSync(binary, bytes)
    t.match(await says(binary), /binary is UTF-16 text\. Save it as UTF-8/)
  }
  const locked = folder.write('locked', 'x', 0o000)
  const isRoot = process.getuid?.() === 0
  t.match(await says(locked), isRoot ? /^read$/ : /this user has no permission to read .*chmod 600/)
})

t.test('a failure that only some users and disks see has words too', async (t) => {
  t.match(wordsFor('/f', { code: 'EACCES' }), {
    message: 'this user has no permission to read /f',
    fix: /chmod 600 \/f$/,
  })
  t.match(wordsFor('/f', { code: 'EIO' }), { message: "/f can't be read (EIO)" })
  t.match(wordsFor('/f', new Error('x')), { message: "/f can't be read (unknown error)" })
})

t.test('the fix for a file that others can read is ready for a shell', async (t) => {
  t.equal(chmod('/etc/procore-proxy/config.yaml'), 'chmod 600 /etc/procore-proxy/config.yaml')
  t.equal(chmod("/home/o'neill/my file"), "chmod 600 '/home/o'\\''neill/my file'")
})

t.test('any bit for group or world opens a file to others', async (t) => {
  for (const mode of [0o600, 0o400, 0o700]) t.equal(isOpenToOthers(mode), false)
  for (const mode of [0o640, 0o604, 0o610, 0o601, 0o620, 0o602, 0o644]) t.equal(isOpenToOthers(mode), true)
  t.equal(isOpenToOthers(0o644, 0o022), false)
  t.equal(isOpenToOthers(0o620, 0o022), true)
  t.intercept(process, 'platform', { value: 'win32' })
  t.equal(isOpenToOthers(0o666), false)
})

t.test("an audit file's folder must exist", async (t) => {
  const folder = t.testdir({ logs: { sub: {} } })
  const said = async (file: string) => (await checkAuditFile({ file }, folder)).map(({ message }) => message)
  t.strictSame(await said('audit.jsonl'), [])
  t.strictSame(await said('logs/audit.jsonl'), [])
  t.match(await said('nowhere/audit.jsonl'), [/^the folder .*nowhere does not exist$/])
  t.match(await said('logs/sub'), [/sub is a folder$/])
  t.strictSame(await checkAuditFile(undefined, folder), [])
})

const MOUNTS = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /secrets ro,relatime - tmpfs tmpfs rw,size=10k
31 22 0:41 / /data rw - ext4 /dev/sdb1 ro,data=ordered
32 22 0:42 / /with\\040blank ro - tmpfs tmpfs rw
33 22 0:43 / /over ro - tmpfs tmpfs rw
34 22 0:44 / /over rw - tmpfs tmpfs rw
35 30 0:45 / /secrets/inner rw shared:2 master:1 - tmpfs tmpfs rw
`

t.test('a file is on the innermost mount that holds it, of which the last one counts', async (t) => {
  const cases: [string, boolean][] = [
    ['/secrets/a', true],
    ['/secrets', true],
    ['/secretsx/a', false],
    ['/secrets/inner/a', false],
    ['/data/a', true],
    ['/with blank/a', true],
    ['/over/a', false],
    ['/etc/a', false],
  ]
  for (const [path, expected] of cases) t.equal(isReadOnlyIn(MOUNTS, path), expected, path)
  t.equal(isReadOnlyIn('', '/a'), false)
})

t.test('what does not exist is on no read-only mount, nor is a folder of this test', async (t) => {
  t.equal(await isOnReadOnlyMount('/does/not/exist'), false)
  t.equal(await isOnReadOnlyMount(t.testdir()), false)
})

/** Real files on a real disk have no fake clock: short looks, and long enough patience. */
const intervalMs = 10

t.test('each way of changing a file is noticed, once', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const file = folder.write('a/config.yaml', 'one')
  folder.write('b/config.yaml', 'two')
  const link = join(folder.path, 'current')
  symlinkSync('a', link)
  const linked = join(link, 'config.yaml')
  const late = join(folder.path, 'late')

  const calls: true[] = []
  t.teardown(watchFiles([file, linked, late], () => calls.push(true), Date.now() - 60_000, intervalMs))
  // The files are new. This is told after the first look, so that what changes from now on is seen as a change.
  while (calls.length === 0) await sleep(intervalMs)

  const ways: [string, () => void][] = [
    ['written', () => writeFileSync(file, 'two')],
    [
      'written twice in a row',
      () => {
        writeFileSync(file, '')
        writeFileSync(file, 'three')
      },
    ],
    ['replaced', () => renameSync(folder.write('new', 'three'), file)],
    ['touched', () => utimesSync(file, 1, 1)],
    ['given other rights', () => chmodSync(file, 0o640)],
    ['created', () => writeFileSync(late, 'x')],
    ['removed', () => rmSync(late)],
    [
      'behind a symlink that is swapped',
      () => {
        symlinkSync('b', `${link}.new`)
        renameSync(`${link}.new`, link)
      },
    ],
  ]
  for (const [title, change] of ways) {
    const before = calls.length
    change()
    while (calls.length === before) await sleep(intervalMs)
    await sleep(4 * intervalMs)
    t.equal(calls.length, before + 1, title)
  }
})

t.test('nothing is called without a change, nor after the end', async (t) => {
  const file = new ConfigFolder(t.testdir()).write('a', 'one')
  const calls: true[] = []
  const stop = watchFiles([file], () => calls.push(true), Date.now(), intervalMs)
  await sleep(4 * intervalMs)
  t.equal(calls.length, 0)
  stop()
  writeFileSync(file, 'two')
  await sleep(4 * intervalMs)
  t.equal(calls.length, 0)
  t.doesNotThrow(watchFiles([], () => {}, Date.now()))
})

t.test('what has changed since the file was read counts, once', async (t) => {
  const file = new ConfigFolder(t.testdir()).write('a', 'one')
  const calls: true[] = []
  t.teardown(watchFiles([file], () => calls.push(true), Date.now() - 60_000, intervalMs))
  while (calls.length === 0) await sleep(intervalMs)
  await sleep(4 * intervalMs)
  t.equal(calls.length, 1)
})

t.test('a network drive that hangs holds one thread of Node, not one for each file', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const files = ['a', 'b', 'c', 'd'].map((name) => folder.write(name, 'one'))
  const { stat } = fs
  t.teardown(() => {
    fs.stat = stat
    syncBuiltinESMExports()
  })
  let looks = 0
  fs.stat = (() => {
    looks++
    return new Promise(() => {})
  }) as unknown as typeof stat
  syncBuiltinESMExports()
  t.teardown(watchFiles(files, () => {}, Date.now(), intervalMs))
  await sleep(4 * intervalMs)
  t.equal(looks, 1)
})
