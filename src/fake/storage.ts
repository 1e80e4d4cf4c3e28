// The fake's file host: links that need the token, and presigned ones that refuse it, as S3 does.
import { createHmac, randomBytes } from 'node:crypto'
import { type Answer, json } from './answer.ts'
import { type Faults, play } from './faults.ts'
import type { Exchange, Handler } from './listener.ts'
import type { Tokens } from './tokens.ts'

/** Creates and checks presigned links. */
export class Presigner {
  readonly #key = randomBytes(32)

  /** A path and query below the file host that serve this file without a bearer. */
  sign(file: string): string {
    return `/presigned/${file}?expires=3600&sig=${this.#signature(file)}`
  }

  /** Whether the signature is this file's. */
  isSigned(file: string, signature: string | null): boolean {
    return signature === this.#signature(file)
  }

  #signature(file: string): string {
    return createHmac('sha256', this.#key).update(file).digest('hex')
  }
}

/** What the file host needs. */
export interface StorageDeps {
  readonly tokens: Tokens
  readonly faults: Faults
  readonly presigner: Presigner
  readonly storageOrigin: () => string
}

const FILE = /^\/(presigned|fas\/api\/v5\/files|api\/v5\/files)\/([\w.-]+)$/

/**
 * Answers `/presigned/FILE?sig=` (no bearer), `/fas/api/v5/files/FILE` (bearer, gives the file) and
 * `/api/v5/files/FILE` (bearer, redirects to the presigned link).
 */
export function createStorage(deps: StorageDeps): Handler {
  return async (exchange) => {
    const { entry } = exchange
    const fault = deps.faults.next(deps.faults.storage, entry.method, entry.url) ?? {}
    await play(exchange, fault, { Server: 'AmazonS3' }, async () => fileAnswer(exchange, deps))
  }
}

function fileAnswer(
  { entry, path, query }: Exchange,
  { tokens, presigner, storageOrigin }: StorageDeps,
): Answer {
  const [, kind, file] = FILE.exec(path) ?? []
  const { authorization } = entry.headers
  if (file === undefined || !['GET', 'HEAD'].includes(entry.method)) {
    return s3Error(404, 'NoSuchKey', 'The specified key does not exist.')
  }
  const pdf = { status: 200, headers: { 'Content-Type': 'application/pdf' }, body: `%PDF-1.7 fake ${file}\n` }
  if (kind === 'presigned') {
    if (authorization !== undefined) return s3Error(400, 'InvalidArgument', 'Only one auth mechanism allowed')
    if (presigner.isSigned(file, query.get('sig'))) return pdf
    return s3Error(403, 'SignatureDoesNotMatch', 'The request signature does not match.')
  }
  const token = tokens.ofHeader(authorization)
  if (token !== undefined) entry.tokenSerial = token.serial
  if (token === undefined || !tokens.isAlive(token)) return json(401, { message: 'Unauthorized' })
  if (kind?.startsWith('fas/')) return pdf
  return { status: 302, headers: { Location: storageOrigin() + presigner.sign(file) }, body: '' }
}

function s3Error(status: number, code: string, message: string): Answer {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`
  return { status, headers: { 'Content-Type': 'application/xml' }, body }
}
