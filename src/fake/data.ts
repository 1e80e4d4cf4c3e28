// The companies and projects that the fake holds.

/** A company of the fake. */
export interface FakeCompany {
  /** Decimal digits, of any length. */
  id: string
  name: string
  /** False: no app is connected to it, so every call in it is a 403. Default true. */
  connected?: boolean
  /** How many projects it starts with; default 45, which is several pages. */
  projects?: number
}

/** A project; ids are decimal strings inside the fake. */
export interface Project {
  readonly id: string
  name: string
  readonly number: string
  readonly city: string
  active: boolean
  readonly createdAt: string
}

const PLACES = ['Riverside', 'Harbour', 'Northgate', 'Elm Street', 'Summit', 'Lakeview', 'Foundry']
const KINDS = [
  'Hospital',
  'School',
  'Office Tower',
  'Parking Deck',
  'Data Center',
  'Bridge',
  'Library',
  'Depot',
]
const CITIES = ['Carpinteria, CA', 'Austin, TX', 'Toronto, ON', 'Portland, OR', 'Sheffield']

interface Shelf {
  readonly projects: Map<string, Project>
  nextId: bigint
}

/** Companies with their projects, which come into being when first asked for. Ids and names never depend on the order. */
export class Data {
  readonly #companies: readonly FakeCompany[]
  readonly #shelves = new Map<string, Shelf>()
  readonly #now: () => number

  constructor(companies: readonly FakeCompany[], now: () => number) {
    this.#companies = companies
    this.#now = now
  }

  /** A company by its id. */
  company(id: string): FakeCompany | undefined {
    return this.#companies.find((company) => company.id === id)
  }

  /** A company's projects by id, in order of making. */
  projects(company: FakeCompany): Map<string, Project> {
    return this.#shelf(company).projects
  }

  /** Adds a project to a company. */
  addProject(company: FakeCompany, name: string): Project {
    return this.#add(this.#shelf(company), name)
  }

  #shelf(company: FakeCompany): Shelf {
    const known = this.#shelves.get(company.id)
    if (known !== undefined) return known
    const place = this.#companies.indexOf(company)
    // Ids of the new regions begin beyond 32 bits, for projects as for companies.
    const first = company.id.length > 10 ? 562_949_954_000_000n : 1_000_000n
    const shelf = { projects: new Map<string, Project>(), nextId: first + BigInt(place) * 1_000_000n + 1n }
    this.#shelves.set(company.id, shelf)
    const { projects: count = 45 } = company
    for (let index = 0; index < count; index += 1) this.#add(shelf, nameOf(index + place))
    return shelf
  }

  #add(shelf: Shelf, name: string): Project {
    const id = String(shelf.nextId)
    shelf.nextId += 1n
    const project = {
      id,
      name,
      number: `P-${id.slice(-4)}`,
      city: CITIES[shelf.projects.size % CITIES.length]!,
      active: true,
      createdAt: new Date(this.#now()).toISOString(),
    }
    shelf.projects.set(id, project)
    return project
  }
}

function nameOf(index: number): string {
  return `${PLACES[index % PLACES.length]} ${KINDS[index % KINDS.length]}`
}
