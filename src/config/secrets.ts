// Reads a secret from where it is kept: the configuration, a variable, a file of its own, or the output of a program.
import { type ExecFileException, execFile } from 'node:child_process'
import { resolve, sep } from 'node:path'
import { promisify } from 'node:util'
import ms from 'ms'
import { chmod, isOnReadOnlyMount, isOpenToOthers, readTextFile } from './files.ts'
import type { Mistake } from './problems.ts'
import type { SecretSource } from './schema.ts'

/** Far longer than any secret. Stops a wrong path or program from filling the memory. */
const MAX_SECRET_BYTES = 64 * 1024

/**
 * Folders that container engines fill with secrets, which everyone in the container can read; and systemd's credentials,
 * whose mode (0440) reflects an access list with the service's user only.
 */
const SECRET_MOUNTS = ['/run/secrets', '/var/run/secrets', '/run/credentials']

/** Where secrets are looked for. */
export interface SecretContext {
  readonly env: NodeJS.ProcessEnv
  /** Relative paths start here, and programs run here. */
  readonly folder: string
  readonly platform: NodeJS.Platform
}

/** The absolute path of a `{file}` secret; undefined for all other kinds. */
export function secretFile(source: SecretSource, folder: string): string | undefined {
  return typeof source === 'object' && 'file' in source ? resolve(folder, source.file) : undefined
}

/** The value of a secret, never empty; or a description of what is wrong that contains no part of it. */
export async function readSecret(source: SecretSource, context: SecretContext): Promise<string | Mistake> {
  if (typeof source === 'string') return notEmpty(source, 'the value', 'Write the value')
  if ('env' in source) {
    const { env: name } = source
    const value = context.env[name]
    if (value) return notEmpty(value, `the variable ${name}`, `Set ${name} to the value`)
    return { message: `the variable ${name} is not set`, fix: `Set ${name} in the environment of the proxy` }
  }
  if ('file' in source) return readFromFile(resolve(context.folder, source.file), context.platform)
  return readFromProgram(source.command, source.timeout, context)
}

function notEmpty(value: string, what: string, fix: string): string | Mistake {
  return value.trim() === '' ? { message: `${what} is empty`, fix } : value
}

function withoutNewline(text: string): string {
  return text.replace(/\r?\n$/, '')
}

async function readFromFile(path: string, platform: NodeJS.Platform): Promise<string | Mistake> {
  const file = await readTextFile(path, MAX_SECRET_BYTES)
  if ('message' in file) return file
  const isMounted = SECRET_MOUNTS.some((mount) => path.startsWith(mount + sep))
  // On a read-only volume, such as a secret in Kubernetes, chmod is not possible.
  if (platform !== 'win32' && !isMounted && isOpenToOthers(file.mode) && !(await isOnReadOnlyMount(path))) {
    return { message: `other users can read ${path} (mode ${file.mode.toString(8)})`, fix: chmod(path) }
  }
  return notEmpty(withoutNewline(file.text), path, 'Write the secret into it')
}

const PRINT_FIX = 'Make it print the secret and nothing else'

async function readFromProgram(
  [program = '', ...args]: readonly string[],
  timeout: number,
  { env, folder: cwd }: SecretContext,
): Promise<string | Mistake> {
  const limits = { timeout, killSignal: 'SIGKILL', maxBuffer: MAX_SECRET_BYTES } as const
  try {
    const running = promisify(execFile)(program, args, { cwd, env, windowsHide: true, ...limits })
    // A program that asks for input reads the end of file instead of waiting until the timeout.
    running.child.stdin?.on('error', () => {}).end()
    return notEmpty(withoutNewline((await running).stdout), `the output of ${program}`, PRINT_FIX)
  } catch (error) {
    return wordsFor(program, error as ExecFileException, timeout)
  }
}

/** What a failure means. The error's own message is not used, as it contains what the program wrote. */
function wordsFor(program: string, error: ExecFileException, timeoutMs: number): Mistake {
  if (String(error.code).startsWith('ERR_INVALID')) {
    const message = `${JSON.stringify(program)} can't be started`
    return { message, fix: 'Correct the program and its arguments' }
  }
  if (error.code === 'ENOENT') {
    return { message: `the program ${program} was not found`, fix: 'Install it, or write its full path' }
  }
  if (error.code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') {
    return { message: `${program} printed more than 64 KiB`, fix: PRINT_FIX }
  }
  if (error.killed) {
    const message = `${program} did not finish within ${ms(timeoutMs)}`
    return { message, fix: 'Make it faster, or increase its timeout' }
  }
  const end = typeof error.code === 'number' ? `exit status ${error.code}` : (error.signal ?? error.code)
  const fix = 'Run it by hand to see why, as its output is not shown here'
  return { message: `${program} failed (${end})`, fix }
}
