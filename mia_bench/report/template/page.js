"use strict";
(() => {
  const table = document.getElementById("board");
  const body = table.tBodies[0];
  const listed = Array.from(body.rows);
  const form = document.getElementById("filters");
  const fields = Array.from(form.querySelectorAll("[data-filter]"));
  const buttons = Array.from(table.querySelectorAll("[data-sort]"));
  const narrow = document.getElementById("sort");
  const count = document.getElementById("count");
  const columns = buttons.map((b) => b.closest("th").cellIndex);

  const matches = (row, field) => {
    if (!field.value) return true;
    const value = row.dataset[field.dataset.filter];
    return field.tagName === "SELECT"
      ? value === field.value
      : value.toLowerCase().includes(field.value.trim().toLowerCase());
  };

  const filter = () => {
    let shown = 0;
    for (const row of listed) {
      row.hidden = !fields.every((field) => matches(row, field));
      if (!row.hidden) shown += 1;
    }
    count.textContent = `${shown} of ${listed.length} runs`;
  };

  const number = (row, column) => {
    const value = row.cells[column].dataset.v;
    return value === undefined ? null : Number(value);
  };

  // Rows without a figure stay last in both directions.
  const order = (column, numeric, sign) => (a, b) => {
    if (!numeric) {
      return sign * a.cells[column].textContent.trim().localeCompare(b.cells[column].textContent.trim());
    }
    const x = number(a, column);
    const y = number(b, column);
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (x - y);
  };

  const sort = (index, direction) => {
    const button = buttons[index];
    const numeric = "numeric" in button.dataset;
    const sign = direction === "ascending" ? 1 : -1;
    const rows = listed.slice().sort(order(columns[index], numeric, sign));
    body.append(...rows);
    buttons.forEach((b, i) => b.closest("th").setAttribute("aria-sort", i === index ? direction : "none"));
  };

  const first = (button) => {
    return "higherFirst" in button.dataset ? "descending" : "ascending";
  };

  buttons.forEach((button, index) => {
    button.addEventListener("click", () => {
      const now = button.closest("th").getAttribute("aria-sort");
      const other = now === "ascending" ? "descending" : "ascending";
      sort(index, now === "none" ? first(button) : other);
    });
  });

  narrow.addEventListener("change", () => {
    const index = buttons.findIndex((b) => b.dataset.sort === narrow.value);
    if (index >= 0) sort(index, first(buttons[index]));
    else restore();
  });

  const restore = () => {
    body.append(...listed);
    buttons.forEach((b) => b.closest("th").setAttribute("aria-sort", "none"));
  };

  fields.forEach((field) => field.addEventListener("input", filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { filter(); restore(); }));

  // Columns can be hidden; without this script all are shown.
  const chooser = document.getElementById("columns");
  Array.from(table.tHead.rows[0].cells).forEach((cell, column) => {
    if (column === 0) return;
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      for (const row of [table.tHead.rows[0], ...listed]) {
        row.cells[column].classList.toggle("off", !box.checked);
      }
    });
    label.append(box, ` ${cell.textContent.trim()}`);
    chooser.append(label);
  });
  chooser.hidden = false;

  // The AUC of each run on every resample lie in its option: any two of the same rows are subtracted.
  const pair = document.getElementById("pair");
  if (pair) {
    const first = document.getElementById("pair-a");
    const second = document.getElementById("pair-b");
    const answer = document.getElementById("pair-answer");
    const runs = Array.from(first.options);
    const decoded = new Map();

    const replicates = (run) => {
      if (!decoded.has(run)) {
        const bytes = Uint8Array.from(atob(run.dataset.replicates), (c) => c.charCodeAt(0));
        const steps = new DataView(bytes.buffer);
        decoded.set(run, Array.from({ length: bytes.length / 2 }, (_, i) => steps.getUint16(2 * i, true) / 65535));
      }
      return decoded.get(run);
    };

    const quantile = (sorted, share) => {
      const at = share * (sorted.length - 1);
      const low = Math.floor(at);
      const high = Math.min(low + 1, sorted.length - 1);
      return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
    };

    const signed = (value) => (value < 0 ? "" : "+") + value.toFixed(3);

    const compare = () => {
      const a = runs[first.value];
      const b = runs[second.value];
      const difference = Number(a.dataset.auc) - Number(b.dataset.auc);
      const other = replicates(b);
      const drawn = replicates(a).map((auc, i) => auc - other[i]).slice(1).sort((x, y) => x - y);
      const names = `${a.dataset.attack} minus ${b.dataset.attack}: ${signed(difference)}`;
      if (!drawn.length) {
        answer.textContent = `${names}; too few groups of images for an interval.`;
        return;
      }
      const low = quantile(drawn, 0.025);
      const high = quantile(drawn, 0.975);
      const below = drawn.filter((d) => d <= 0).length;
      const above = drawn.filter((d) => d >= 0).length;
      const least = 2 / (drawn.length + 1);
      const p = Math.min(1, least * (1 + Math.min(below, above)));
      const floor = Math.ceil(1000 * least - 1e-9) / 1000;
      const chance = p < 0.0005 ? "p < 0.0005" : p <= least ? `p < ${floor.toFixed(3)}` : `p = ${p.toFixed(3)}`;
      const verdict =
        low > 0 ? "the first run is better" : high < 0 ? "the second run is better" : "no difference can be told";
      answer.textContent = `${names} [${signed(low)}, ${signed(high)}], ${chance}: ${verdict}.`;
    };

    const offer = (wanted) => {
      const a = runs[first.value];
      const others = runs.filter((run) => run !== a && run.dataset.rows === a.dataset.rows);
      second.replaceChildren(...others.map((run) => new Option(run.textContent, run.value)));
      if (others.some((run) => run.value === wanted)) second.value = wanted;
      compare();
    };

    first.addEventListener("change", () => offer(second.value));
    second.addEventListener("change", compare);
    pair.addEventListener("submit", (event) => event.preventDefault());
    document.getElementById("pair-swap").addEventListener("click", () => {
      const before = first.value;
      first.value = second.value;
      offer(before);
    });
    offer("");
    pair.hidden = false;
  }

  // A link to a run opens it.
  const open = () => {
    const run = document.getElementById(location.hash.slice(1));
    if (run && run.tagName === "DETAILS") run.open = true;
  };
  window.addEventListener("hashchange", open);
  filter();
  open();
})();
