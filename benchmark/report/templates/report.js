"use strict";
// The page is complete without this: it adds sorting and filtering to the tables that ask for them.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  const sort = (column, order) => {
    const numeric = heads[column].dataset.type === "number";
    const sign = order === "ascending" ? 1 : -1;
    const compare = (one, other) => {
      const a = key(one, column), b = key(other, column);
      // What is not there comes last in either order.
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * (numeric ? Number(a) - Number(b) : a.localeCompare(b));
    };
    body.append(...(order === "none" ? original : [...original].sort(compare)));
    heads.forEach((head, index) => head.setAttribute("aria-sort", index === column ? order : "none"));
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    const orders = ["ascending", "descending"];
    if (head.dataset.type === "number") orders.reverse();
    button.addEventListener("click", () => {
      sort(column, orders[orders.indexOf(head.getAttribute("aria-sort")) + 1] ?? "none");
    });
  });

  const tools = document.getElementById(table.dataset.tools);
  if (!tools) continue;
  const [text, setting, said] = ["input", "select", "output"].map((name) => tools.querySelector(name));
  const filter = () => {
    const wanted = text.value.trim().toLowerCase();
    let shown = 0;
    for (const row of original) {
      const named = row.cells[0].textContent.toLowerCase().includes(wanted);
      row.hidden = !(named && (setting.value === "" || row.dataset.setting === setting.value));
      shown += !row.hidden;
    }
    said.value = `${shown} of ${original.length} rows`;
  };
  text.addEventListener("input", filter);
  setting.addEventListener("change", filter);
  tools.hidden = false;
  filter();
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
