// Finds the configuration file: the one that was named, else the first one that exists in the usual places.
import { statSync } from 'node:fs'
import { homedir as osHomedir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'

/** What the search depends on. */
export interface SearchContext {
  /** The value of `--config`. */
  readonly flag: string | undefined
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  readonly homedir?: string | undefined
  readonly platform?: NodeJS.Platform | undefined
}

/** A file to read; `namedBy` is the flag or variable that names it. */
export interface FoundFile {
  /** Absolute. */
  readonly path: string
  readonly namedBy: string | undefined
}

/** The home folder; undefined for users without one, such as systemd's dynamic users and unknown ids in containers. */
export function homeFolder(ask: () => string = osHomedir): string | undefined {
  try {
    return ask()
  } catch {
    return undefined
  }
}

/** The absolute paths of the usual places, in the order in which they are tried. */
export function usualPlaces({
  env,
  cwd,
  homedir = homeFolder(),
  platform = process.platform,
}: SearchContext): string[] {
  const places = [join(cwd, 'procore-proxy.yaml'), join(cwd, 'config', 'procore-proxy.yaml')]
  if (platform === 'win32') {
    if (env['APPDATA']) places.push(join(env['APPDATA'], 'procore-proxy', 'config.yaml'))
    return places
  }
  // XDG Base Directory Specification: a relative path is invalid and must be ignored.
  const xdg = env['XDG_CONFIG_HOME']
  const base = xdg && isAbsolute(xdg) ? xdg : homedir && join(homedir, '.config')
  if (base) places.push(join(base, 'procore-proxy', 'config.yaml'))
  return [...places, '/etc/procore-proxy/config.yaml']
}

/** The file to read; undefined if none is named and none exists. */
export function findConfigFile(context: SearchContext): FoundFile | undefined {
  const { flag, env, cwd } = context
  if (flag) return { path: resolve(cwd, flag), namedBy: '--config' }
  const named = env['PROCORE_PROXY_CONFIG']
  if (named) return { path: resolve(cwd, named), namedBy: 'PROCORE_PROXY_CONFIG' }
  for (const path of usualPlaces(context)) {
    if (exists(path)) return { path, namedBy: undefined }
  }
  return undefined
}

/** A file without permission to look at it exists too: reading it then fails, and no other file is used instead. */
function exists(path: string): boolean {
  try {
    return !statSync(path).isDirectory()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code !== 'ENOENT' && code !== 'ENOTDIR'
  }
}
