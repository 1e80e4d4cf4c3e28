// Writes the file of `init`, completely or not at all.
import { randomBytes } from 'node:crypto'
import { link, lstat, mkdir, realpath, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { SCHEMA_FILE } from '../config/schema.ts'
import { CommandError, usageError } from './exit.ts'
import type { Answers } from './init-questions.ts'

/** A commented configuration for one company. */
export function configText({ companyId, access, environment, clientId, clientSecret }: Answers): string {
  const custom = typeof environment === 'string' ? undefined : environment
  const isPlain = typeof clientSecret === 'string'
  const source = isPlain ? quote(clientSecret) : mapOf(clientSecret)
  return `# yaml-language-server: $schema=./${SCHEMA_FILE}
# Written by procore-proxy init. All keys: docs/configuration.md. For completion in an editor:
# procore-proxy schema > ${SCHEMA_FILE}
# ${isPlain ? 'It holds a secret: keep it readable for you alone (chmod 600), and out of version control.' : 'The secret is kept elsewhere.'}
# A running proxy takes over changes by itself. procore-proxy check tries them.

# Tools on this machine call http://127.0.0.1:8377.
listen: 127.0.0.1:8377

# production (On-Demand Sandboxes too), sandbox, monthly-sandbox, federal, or one of your own.
environment: ${custom ? 'custom' : environment}
${custom ? `environments:\n  custom: ${mapOf(custom)}\n` : ''}
companies:
  # The name is yours. It is used in URLs (/main/rest/v1.0/me), logs and metrics.
  main:
    id: ${quote(companyId)}
    # read-only lets GET, HEAD and OPTIONS through; read-write lets writes through too.
    access: ${access}
    serviceAccount:
      clientId: ${quote(clientId)}
      # A variable, another file or a program can hold it instead: { env: NAME }, { file: PATH }, { command: [PROGRAM] }
      clientSecret: ${source}
  # Add another company here, with a name, an id and a serviceAccount of its own. If one account serves several
  # companies, move it to \`serviceAccounts\` and name it in each company.
`
}

/** JSON strings are valid YAML. */
function quote(text: string): string {
  return JSON.stringify(text)
}

function mapOf(values: object): string {
  const pairs = Object.entries(values).map(([key, value]) => `${key}: ${quote(String(value))}`)
  return `{ ${pairs.join(', ')} }`
}

/** Refuses a path that cannot be written, before any question is asked. */
export async function checkPlace(file: string, force: boolean): Promise<void> {
  const there = await lookAt(file)
  if (there === 'folder') throw usageError(`${file} is a folder: name a file with --output FILE`)
  if (there !== undefined && !force) {
    throw usageError(`${file} exists: overwrite it with --force, or name another with --output FILE`)
  }
  let folder = dirname(file)
  while ((await lookAt(folder)) === undefined && dirname(folder) !== folder) folder = dirname(folder)
  const probe = join(folder, draftName(file))
  await writing(file, async () => {
    await writeFile(probe, '', { flag: 'wx', mode: 0o600 })
    await rm(probe)
  })
}

/** What is at this path; a dangling link counts as a file. */
async function lookAt(path: string): Promise<'file' | 'folder' | undefined> {
  try {
    return (await lstat(path)).isDirectory() ? 'folder' : 'file'
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    return ['ENOENT', 'ENOTDIR'].includes(code) ? undefined : 'file'
  }
}

function draftName(file: string): string {
  return `.${basename(file)}.${randomBytes(6).toString('hex')}.tmp`
}

/**
 * Writes the file with mode 600, first under another name, so that an old file is only ever replaced by a complete one.
 * Without `force`, a file that has appeared in the meantime is not overwritten.
 */
export async function writeWhole(file: string, text: string, force: boolean): Promise<void> {
  await writing(file, async () => {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    // The target of a link is replaced, not the link.
    const target = force ? await realpath(file).catch(() => file) : file
    const draft = join(dirname(target), draftName(target))
    try {
      await writeFile(draft, text, { flag: 'wx', mode: 0o600, flush: true })
      // Unlike rename, link never replaces an existing file.
      await (force ? rename(draft, target) : link(draft, target))
    } finally {
      await rm(draft, { force: true })
    }
  })
}

/** Writes without being interrupted by signals; throws CommandError if the file cannot be written. */
function writing(file: string, work: () => Promise<void>): Promise<void> {
  return undisturbed(work).catch(({ code }: NodeJS.ErrnoException) => {
    const reason = `cannot be written (${code}): check its folder, or name another file with --output FILE`
    const appeared = 'has appeared in the meantime; nothing was overwritten'
    throw new CommandError(`${file} ${code === 'EEXIST' ? appeared : reason}`)
  })
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Keeps signals from ending the process during work that takes a few milliseconds. */
export async function undisturbed<T>(work: () => Promise<T>): Promise<T> {
  const hold = () => {}
  for (const signal of SIGNALS) process.on(signal, hold)
  try {
    return await work()
  } finally {
    for (const signal of SIGNALS) process.off(signal, hold)
  }
}
