// Encrypts tokens for Redis with a key that can only be derived from the client secret.
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import type { ServiceAccount } from '../config/config.ts'

const IV_BYTES = 12
const TAG_BYTES = 16

/** Encrypts and decrypts the data of one service account. */
export type Seal = ReturnType<typeof sealOf>

/** Derives name and key from the client secret with HKDF-SHA256 (RFC 5869). */
export function sealOf({ environment, clientId, clientSecret }: ServiceAccount) {
  const account = JSON.stringify([environment.loginUrl, clientId])
  const derive = (use: string, bytes: number) =>
    Buffer.from(hkdfSync('sha256', clientSecret.reveal(), account, `procore-proxy v1 ${use}`, bytes))
  const key = derive('token key', 32)
  const name = derive('token name', 16).toString('base64url')
  return {
    /** The account's name in Redis. Another secret gives another name, and neither reveals anything about the secret. */
    name,
    /** AES-256-GCM, in base64. */
    close: (text: string) => {
      const iv = randomBytes(IV_BYTES)
      const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(name))
      const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
      return Buffer.concat([iv, cipher.getAuthTag(), sealed]).toString('base64')
    },
    /** Undefined if another key was used, or the text was changed. */
    open: (sealed: string) => {
      const bytes = Buffer.from(sealed, 'base64')
      try {
        const options = { authTagLength: TAG_BYTES }
        const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES), options)
          .setAAD(Buffer.from(name))
          .setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES))
        const text = decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES))
        return Buffer.concat([text, decipher.final()]).toString('utf8')
      } catch {
        return undefined
      }
    },
  }
}
