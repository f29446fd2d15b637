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

  // A link to a run opens it.
  const open = () => {
    const run = document.getElementById(location.hash.slice(1));
    if (run && run.tagName === "DETAILS") run.open = true;
  };
  window.addEventListener("hashchange", open);
  filter();
  open();
})();
