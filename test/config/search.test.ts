import { mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { findConfigFile, homeFolder, usualPlaces } from '../../src/config/files.ts'
import { ConfigFolder } from '../fixtures/config-folder.ts'

t.test('the usual places are in the order of the contract', async (t) => {
  const base = { flag: undefined, cwd: '/work', homedir: '/home/ann', platform: 'linux' as const }
  const local = ['/work/procore-proxy.yaml', '/work/config/procore-proxy.yaml']
  const etc = '/etc/procore-proxy/config.yaml'
  const ann = '/home/ann/.config/procore-proxy/config.yaml'
  t.strictSame(usualPlaces({ ...base, env: {} }), [...local, ann, etc])
  const xdg = usualPlaces({ ...base, env: { XDG_CONFIG_HOME: '/xdg' } })
  t.strictSame(xdg, [...local, '/xdg/procore-proxy/config.yaml', etc])
  for (const XDG_CONFIG_HOME of ['', 'relative'])
    t.equal(usualPlaces({ ...base, env: { XDG_CONFIG_HOME } })[2], ann)
  const windows = { ...base, platform: 'win32' as const }
  const appData = usualPlaces({ ...windows, env: { APPDATA: '/appdata' } })
  t.strictSame(appData, [...local, '/appdata/procore-proxy/config.yaml'])
  t.strictSame(usualPlaces({ ...windows, env: {} }), local)
  const here = usualPlaces({ flag: undefined, env: {}, cwd: '/work' })
  if (process.platform !== 'win32') t.equal(here[2], join(homedir(), '.config/procore-proxy/config.yaml'))
})

t.test('a user without a home has no place there', async (t) => {
  const noHome = () => {
    throw new Error('uv_os_homedir returned ENOENT')
  }
  t.equal(homeFolder(noHome), undefined)
  t.equal(homeFolder(), homedir())
  const base = { flag: undefined, cwd: '/work', homedir: '', platform: 'linux' as const }
  t.strictSame(usualPlaces({ ...base, env: {} }), [
    '/work/procore-proxy.yaml',
    '/work/config/procore-proxy.yaml',
    '/etc/procore-proxy/config.yaml',
  ])
  t.equal(usualPlaces({ ...base, env: { XDG_CONFIG_HOME: '/xdg' } })[2], '/xdg/procore-proxy/config.yaml')
})

t.test('each place is taken only where none before it has a file', async (t) => {
  const folder = new ConfigFolder(t.testdir())
  const context = { cwd: folder.path, homedir: folder.path, platform: 'linux' as const }
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
  const folder = new ConfigFolder(t.testdir())
  mkdirSync(join(folder.path, 'procore-proxy.yaml'))
  folder.write('config', 'a file where a folder would be')
  const { path: cwd } = folder
  t.equal(findConfigFile({ flag: undefined, env: {}, cwd, homedir: cwd, platform: 'win32' }), undefined)
})

t.test('a file that may not be looked at is not passed over', async (t) => {
  const cwd = `${t.testdir()}/${'x'.repeat(300)}`
  const found = await findConfigFile({ flag: undefined, env: {}, cwd, platform: 'win32' })
  t.equal(found?.path, join(cwd, 'procore-proxy.yaml'), 'ENAMETOOLONG is not absence')
})
