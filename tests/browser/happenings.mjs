// What happens on its own: kept in order, and waited for without asking again and again.
import { EventEmitter, once } from "node:events";

/** Everything that has happened, and what is still to come. */
export class Happenings {
  all = [];
  #news = new EventEmitter();

  add(one) {
    this.all.push(one);
    this.#news.emit("news");
  }

  /** The first that fits, now or to come. */
  first(fits) {
    return this.nth(1, fits);
  }

  /** The one that is number `n` of those that fit. */
  async nth(n, fits) {
    const patience = AbortSignal.timeout(20_000);
    for (;;) {
      const found = this.all.filter(fits);
      if (found.length >= n) {
        return found[n - 1];
      }
      await once(this.#news, "news", { signal: patience }).catch(() => {
        throw new Error(`nothing of the kind within 20 s; there is ${JSON.stringify(this.all)}`);
      });
    }
  }
}
