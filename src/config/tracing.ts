// OpenTelemetry's own variables: whether traces are made, of which requests, and where they go.
import { accessSync, constants } from 'node:fs'
import { validateHeaderName, validateHeaderValue } from 'node:http'
import type { TracingSettings } from './config.ts'
import { quoted } from './problems.ts'
import { Secret } from './secret.ts'

/** Every variable of OpenTelemetry's that is looked at, and what it says. */
export const TRACING_VARIABLES: readonly { readonly variable: string; readonly sets: string }[] = [
  {
    variable: 'OTEL_EXPORTER_OTLP_ENDPOINT',
    sets: 'where traces are sent, with `/v1/traces` put to its end; without it or the next one there are none',
  },
  { variable: 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', sets: 'the same, whole; goes before it' },
  {
    variable: 'OTEL_EXPORTER_OTLP_PROTOCOL',
    sets: '`http/protobuf` (default) or `http/json`; `grpc` is not supported',
  },
  {
    variable: 'OTEL_EXPORTER_OTLP_HEADERS',
    sets: 'headers for the collector, as `name=value,name=value` with percent escapes; secret, never printed',
  },
  {
    variable: 'OTEL_EXPORTER_OTLP_TIMEOUT',
    sets: 'how long one delivery may take, retries included, in ms; default 10000',
  },
  { variable: 'OTEL_EXPORTER_OTLP_COMPRESSION', sets: '`none` (default) or `gzip`' },
  {
    variable: 'OTEL_EXPORTER_OTLP_CERTIFICATE',
    sets: "a file with the CA of the collector's certificate; _CLIENT_CERTIFICATE and _CLIENT_KEY likewise",
  },
  { variable: 'OTEL_TRACES_EXPORTER', sets: '`otlp` (default); `none` turns traces off' },
  { variable: 'OTEL_SDK_DISABLED', sets: '`true` turns traces off' },
  {
    variable: 'OTEL_TRACES_SAMPLER',
    sets: '`parentbased_always_on` (default), `parentbased_always_off`, `parentbased_traceidratio`, `always_on`, `always_off`, `traceidratio`',
  },
  { variable: 'OTEL_TRACES_SAMPLER_ARG', sets: 'the share of `…traceidratio`, 0 to 1; default 1' },
  { variable: 'OTEL_SERVICE_NAME', sets: 'the name in the traces; default `procore-proxy`' },
  {
    variable: 'OTEL_RESOURCE_ATTRIBUTES',
    sets: 'further attributes of all spans, as `name=value,name=value`',
  },
  {
    variable: 'OTEL_BSP_SCHEDULE_DELAY',
    sets: 'how long a span waits for others at most, in ms; default 5000',
  },
  {
    variable: 'OTEL_BSP_MAX_QUEUE_SIZE',
    sets: 'how many spans wait, or are being sent, at most; default 2048',
  },
]

/** What the variables say; a mistake in them is a warning, never an end: they are for every program of the machine. */
export interface TracingReading {
  /** Undefined: no traces. */
  readonly tracing: TracingSettings | undefined
  readonly warnings: readonly string[]
}

/** Those of `OTEL_EXPORTER_OTLP_…` that may be given for traces alone, as `OTEL_EXPORTER_OTLP_TRACES_…`. */
type OtlpName = 'ENDPOINT' | 'PROTOCOL' | 'HEADERS' | 'TIMEOUT' | 'COMPRESSION' | (typeof FILES)[number]

const FILES = ['CERTIFICATE', 'CLIENT_CERTIFICATE', 'CLIENT_KEY'] as const
const NO_TRACES = 'No traces are sent.'
const LONGEST_MS = 3_600_000
const MOST_WAITING = 100_000

const SAMPLERS: ReadonlyMap<string, TracingSettings['sampler']> = new Map([
  ['always_on', { parentBased: false, ratio: 1 }],
  ['always_off', { parentBased: false, ratio: 0 }],
  ['parentbased_always_on', { parentBased: true, ratio: 1 }],
  ['parentbased_always_off', { parentBased: true, ratio: 0 }],
])

/** Reads the variables. No secret of them stands in a warning. */
export function readTracing(env: NodeJS.ProcessEnv): TracingReading {
  const warnings: string[] = []
  const tracing = new Reader(env, warnings).read()
  return { tracing, warnings }
}

class Reader {
  readonly #env: NodeJS.ProcessEnv
  readonly #warnings: string[]

  constructor(env: NodeJS.ProcessEnv, warnings: string[]) {
    this.#env = env
    this.#warnings = warnings
  }

  read(): TracingSettings | undefined {
    const endpoint = this.#otlp('ENDPOINT')
    if (endpoint === undefined || this.#isOff()) return undefined
    const url = this.#url(endpoint)
    const protocol = this.#protocol()
    const headers = this.#headers()
    if (url === undefined || protocol === undefined || headers === undefined) return undefined
    this.#checkFiles()
    const compression = this.#otlp('COMPRESSION')
    if (compression !== undefined && !/^(none|gzip)$/.test(compression.value)) {
      this.#warn(
        compression.name,
        `${quoted(compression.value)} is neither none nor gzip: nothing is compressed.`,
      )
    }
    return {
      url: new Secret(url.href),
      origin: url.origin,
      protocol,
      headers,
      timeoutMs: this.#number(this.#otlp('TIMEOUT'), 10_000, LONGEST_MS),
      compression: compression?.value === 'gzip' ? 'gzip' : 'none',
      sampler: this.#sampler(),
      attributes: this.#attributes(),
      delayMs: this.#number(this.#named('OTEL_BSP_SCHEDULE_DELAY'), 5_000, LONGEST_MS),
      maxQueued: this.#number(this.#named('OTEL_BSP_MAX_QUEUE_SIZE'), 2_048, MOST_WAITING),
    }
  }

  #isOff(): boolean {
    const disabled = this.#named('OTEL_SDK_DISABLED')
    if (disabled?.value.toLowerCase() === 'true') return true
    if (disabled !== undefined && disabled.value.toLowerCase() !== 'false') {
      this.#warn(disabled.name, `${quoted(disabled.value)} is neither true nor false: traces are sent.`)
    }
    const exporters = this.#named('OTEL_TRACES_EXPORTER')
    if (exporters === undefined) return false
    const names = exporters.value.split(',').map((name) => name.trim().toLowerCase())
    if (names.includes('none')) return true
    const others = names.filter((name) => name !== 'otlp')
    if (others.length === 0) return false
    const off = others.length === names.length
    this.#warn(
      exporters.name,
      `only otlp and none are supported, not ${quoted(others.join(','))}.${off ? ` ${NO_TRACES}` : ''}`,
    )
    return off
  }

  /** What is said of it holds nothing of it: user name, password and path may be secret. */
  #url({ name, value }: Given): URL | undefined {
    const url = URL.parse(value)
    if (url === null || !/^https?:$/.test(url.protocol)) {
      this.#warn(name, `it is no http:// or https:// URL. ${NO_TRACES} Write http://HOST:4318`)
      return undefined
    }
    if (url.port === '4317') {
      this.#warn(name, "port 4317 is gRPC's as a rule, which is not supported: collectors take HTTP on 4318.")
    }
    url.hash = ''
    if (!name.includes('_TRACES_')) url.pathname = url.pathname.replace(/\/?$/, '/v1/traces')
    return url
  }

  #protocol(): TracingSettings['protocol'] | undefined {
    const given = this.#otlp('PROTOCOL')
    if (given === undefined || given.value === 'http/protobuf') return 'http/protobuf'
    if (given.value === 'http/json') return 'http/json'
    if (given.value === 'grpc') {
      const fix = `Set it to http/protobuf, and the endpoint to the collector's HTTP port, 4318 as a rule`
      this.#warn(given.name, `grpc is not supported. ${NO_TRACES} ${fix}`)
      return undefined
    }
    this.#warn(
      given.name,
      `${quoted(given.value)} is neither http/protobuf nor http/json: http/protobuf is used.`,
    )
    return 'http/protobuf'
  }

  #headers(): Record<string, Secret> | undefined {
    const headers: Record<string, Secret> = {}
    // As the exporter itself has it: what is for traces alone goes before what is for all, name by name.
    for (const name of ['OTEL_EXPORTER_OTLP_HEADERS', 'OTEL_EXPORTER_OTLP_TRACES_HEADERS']) {
      const pairs = pairsOf(this.#named(name)?.value)
      if (pairs === undefined || !pairs.every(canBeSent)) {
        const fix = 'Write name=value,name=value, with characters such as , = % of a value as %2C %3D %25'
        this.#warn(name, `it is no list of headers. ${NO_TRACES} ${fix}`)
        return undefined
      }
      for (const [header, value] of pairs) headers[header] = new Secret(value)
    }
    return headers
  }

  #sampler(): TracingSettings['sampler'] {
    const given = this.#named('OTEL_TRACES_SAMPLER')
    const name = given?.value.toLowerCase() ?? 'parentbased_always_on'
    const known = SAMPLERS.get(name)
    if (known !== undefined) return known
    if (name === 'traceidratio' || name === 'parentbased_traceidratio') {
      return { parentBased: name.startsWith('parentbased'), ratio: this.#ratio() }
    }
    this.#warn(
      'OTEL_TRACES_SAMPLER',
      `${quoted(String(given?.value))} is not supported: parentbased_always_on is used.`,
    )
    return { parentBased: true, ratio: 1 }
  }

  #ratio(): number {
    const given = this.#named('OTEL_TRACES_SAMPLER_ARG')
    if (given === undefined) return 1
    const ratio = Number(given.value)
    if (ratio >= 0 && ratio <= 1) return ratio
    this.#warn(given.name, `${quoted(given.value)} is no number from 0 to 1: 1 is used.`)
    return 1
  }

  #attributes(): Record<string, string> {
    const given = this.#named('OTEL_RESOURCE_ATTRIBUTES')
    const pairs = pairsOf(given?.value)
    if (pairs === undefined) {
      this.#warn('OTEL_RESOURCE_ATTRIBUTES', 'it is no list as name=value,name=value: all of it is ignored.')
    }
    const attributes = Object.fromEntries(pairs ?? [])
    attributes['service.name'] =
      this.#named('OTEL_SERVICE_NAME')?.value ?? attributes['service.name'] ?? 'procore-proxy'
    return attributes
  }

  /** The exporter reads them itself, and says nothing where it can't. */
  #checkFiles(): void {
    for (const each of FILES) {
      const file = this.#otlp(each)
      if (file === undefined) continue
      try {
        accessSync(file.value, constants.R_OK)
      } catch {
        this.#warn(file.name, `the file ${quoted(file.value)} can't be read: it is ignored.`)
      }
    }
  }

  #number(given: Given | undefined, fallback: number, most: number): number {
    if (given === undefined) return fallback
    const number = Number(given.value)
    if (Number.isInteger(number) && number >= 1 && number <= most) return number
    this.#warn(
      given.name,
      `${quoted(given.value)} is no whole number from 1 to ${most}: ${fallback} is used.`,
    )
    return fallback
  }

  #otlp(name: OtlpName): Given | undefined {
    return this.#named(`OTEL_EXPORTER_OTLP_TRACES_${name}`) ?? this.#named(`OTEL_EXPORTER_OTLP_${name}`)
  }

  /** Empty is as good as unset (OpenTelemetry's specification of variables). */
  #named(name: string): Given | undefined {
    const value = this.#env[name]?.trim()
    return value === undefined || value === '' ? undefined : { name, value }
  }

  #warn(name: string, what: string): void {
    this.#warnings.push(`${name}: ${what}`)
  }
}

interface Given {
  readonly name: string
  readonly value: string
}

/** `name=value,name=value` with percent escapes in the values; undefined where it is none. */
function pairsOf(text = ''): [name: string, value: string][] | undefined {
  try {
    return text
      .split(',')
      .filter((pair) => pair.trim() !== '')
      .map((pair) => {
        const [, name = '', value = ''] = /^\s*([^=\s]+)\s*=(.*)$/s.exec(pair) ?? []
        if (name === '') throw new Error('no pair')
        return [decodeURIComponent(name), decodeURIComponent(value.trim())]
      })
  } catch {
    return undefined
  }
}

function canBeSent([name, value]: [string, string]): boolean {
  try {
    validateHeaderName(name)
    validateHeaderValue(name, value)
    return true
  } catch {
    return false
  }
}
