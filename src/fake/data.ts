// The companies of the fake with their projects, RFIs and budgets.
import type { LongList } from './routes.ts'

/** A company of the fake. */
export interface FakeCompany {
  /** Decimal digits, of any length. */
  id: string
  name: string
  /** False: no app is connected to it, so every call in it is a 403. Default true. */
  connected?: boolean
  /** How many projects it starts with; default 45, which is several pages. */
  projects?: number
  /** How many RFIs each of its projects has; default 3. They are created when they are requested. */
  rfis?: number
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
const KINDS = 'Hospital,School,Office Tower,Parking Deck,Data Center,Bridge,Library,Depot'.split(',')
const CITIES = ['Carpinteria, CA', 'Austin, TX', 'Toronto, ON', 'Portland, OR', 'Sheffield']
const PEOPLE = ['Ann Lee', 'Björn Ek', 'Chidi Obi', 'Dolores "Lola" Ruiz']
/** A comma, a line break, and text that a spreadsheet would run as a formula. */
const SUBJECTS = [
  'Door swing, room 12',
  'Beam\nclashes with duct',
  '=SUM of loads at grid C?',
  'Paint for the lobby',
]

interface Shelf {
  readonly company: FakeCompany
  readonly projects: Map<string, Project>
  nextId: bigint
}

/** The companies with their projects. */
export class Data {
  readonly #shelves: ReadonlyMap<string, Shelf>
  readonly #now: () => number

  constructor(companies: readonly FakeCompany[], now: () => number) {
    this.#now = now
    this.#shelves = new Map(companies.map((company, place) => [company.id, this.#fill(company, place)]))
  }

  /** A company by its id. */
  company(id: string): FakeCompany | undefined {
    return this.#shelves.get(id)?.company
  }

  /** A company's projects by id, in order of creation. */
  projects({ id }: FakeCompany): Map<string, Project> {
    return this.#shelves.get(id)!.projects
  }

  /** Adds a project to a company. */
  addProject({ id }: FakeCompany, name: string): Project {
    return this.#add(this.#shelves.get(id)!, name)
  }

  #fill(company: FakeCompany, place: number): Shelf {
    // In the new regions, ids of projects and companies are larger than 32 bits.
    const first = company.id.length > 10 ? 562_949_954_000_000n : 1_000_000n
    const nextId = first + BigInt(place) * 1_000_000n + 1n
    const shelf = { company, projects: new Map<string, Project>(), nextId }
    for (let index = place; index < place + (company.projects ?? 45); index += 1) {
      this.#add(shelf, `${PLACES[index % PLACES.length]} ${KINDS[index % KINDS.length]}`)
    }
    return shelf
  }

  #add(shelf: Shelf, name: string): Project {
    const id = String(shelf.nextId++)
    const city = CITIES[shelf.projects.size % CITIES.length]!
    const createdAt = new Date(this.#now()).toISOString()
    const project = { id, name, number: `P-${id.slice(-4)}`, city, active: true, createdAt }
    shelf.projects.set(id, project)
    return project
  }
}

/** A project in the shape of version 1. */
export function projectV1(project: Project, company: FakeCompany): object {
  return {
    id: number(project.id),
    name: project.name,
    display_name: `${project.number} - ${project.name}`,
    project_number: project.number,
    city: project.city,
    active: project.active,
    company: { id: number(company.id), name: company.name },
    created_at: project.createdAt,
  }
}

/** A project in the shape of version 2. */
export function projectV2({ id, name, number, active }: Project): object {
  return { id, name, project_number: number, active }
}

/** The RFIs of a project, as many as the company says. In the new regions their ids are beyond 2^53. */
export function rfisOf(project: Project, company: FakeCompany): LongList {
  const base = BigInt(project.id) * 1_000_000n + 1n
  const item = (index: number): object => ({
    id: number(String(base + BigInt(index))),
    number: String(index + 1),
    subject: SUBJECTS[index % SUBJECTS.length],
    status: index % 3 === 0 ? 'closed' : 'open',
    assignee:
      index % 5 === 4 ? null : { id: 100 + (index % PEOPLE.length), name: PEOPLE[index % PEOPLE.length] },
    cost_impact: { status: 'yes_known', value: number(`${index % 7 === 0 ? '-' : ''}${index}.50`) },
    questions: [{ id: index, body: 'Which one is right?' }],
    private: false,
    created_at: project.createdAt,
  })
  return { length: company.rfis ?? 3, item }
}

/** The budgets of a project in the shape of version 2. */
export function budgetsOf({ id, name }: Project): LongList {
  const item = (index: number): object => ({
    id: `${id}0${index + 1}`,
    name: `${name}, phase ${index + 1}`,
    original_amount: number(`${(index + 1) * 1250}.00`),
    currency: { iso_code: 'USD' },
  })
  return { length: 2, item }
}

/** A JSON number with all its digits, which a JavaScript number might lose. */
function number(digits: string): unknown {
  return JSON.rawJSON(digits)
}
