# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that make objects of module clickhouse_schema from the options of role product_data."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

if t.TYPE_CHECKING:
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _product_data as product_data

Options = t.Mapping[str, t.Any]


def _options(options: Options, passwords: t.Mapping[str, str]) -> product_data.ProductData:
    """The role's options, checked."""
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _product_data as product_data

    of_sources = {name: password for name, password in passwords.items() if name != product_data.DICTIONARY}
    data = product_data.ProductData(**options, passwords=of_sources, dictionary_password=passwords.get(product_data.DICTIONARY, ""))
    found = product_data.problems(data)
    if found:
        raise AnsibleFilterError("; ".join(found))
    return data


def product_data_collections(options: Options, passwords: t.Mapping[str, str]) -> list[dict[str, str]]:
    """The databases and the named collections of the sources.

    :param options: the role's options C(database), C(sources), C(snapshots), C(dictionaries) and C(dictionary_user).
    :param passwords: passwords by the names of the sources, and that of the dictionaries' user as C(dictionary).
    """
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _product_data as product_data

    return product_data.collection_objects(_options(options, passwords))


def product_data_catalogue_queries(options: Options, passwords: t.Mapping[str, str]) -> list[dict[str, str]]:
    """For each source with tables to copy the C(query) that reads their columns from the source's catalogue.

    :param options: the role's options.
    :param passwords: passwords by the names of the sources, and that of the dictionaries' user as C(dictionary).
    """
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _product_data as product_data

    return product_data.catalogue_queries(_options(options, passwords))


def product_data_objects(
    options: Options, passwords: t.Mapping[str, str], results: t.Sequence[Options], there: t.Sequence[Options], check_mode: bool = False
) -> dict[str, t.Any]:
    """The tables and views of the snapshots: C(objects) and C(purge) as module clickhouse_schema takes them, and C(messages).

    :param options: the role's options.
    :param passwords: passwords by the names of the sources, and that of the dictionaries' user as C(dictionary).
    :param results: what module clickhouse_query returned for the queries of C(product_data_catalogue_queries), in a loop.
    :param there: what C(product_data_obsolete_objects) takes.
    :param check_mode: whether this is check mode.
    """
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _product_data as product_data

    data = _options(options, passwords)
    answers = []
    for result in results:
        answer = {"rows": result["rows"]} if "rows" in result else {"error": result.get("msg", "no answer")}
        answers.append({"source": result["item"]["source"], **answer})
    try:
        tables = [one["name"] for one in there if one["database"] == data.database]
        return product_data.wanted(data, answers, tables, check_mode, product_data.filled_tables(data, there))._asdict()
    except product_data.ProductDataError as error:
        raise AnsibleFilterError(str(error)) from None


def product_data_obsolete_objects(options: Options, passwords: t.Mapping[str, str], there: t.Sequence[Options]) -> list[dict[str, str]]:
    """Tables over sources, dictionaries and named collections that are not needed any more, declared absent.

    :param options: the role's options.
    :param passwords: passwords by the names of the sources, and that of the dictionaries' user as C(dictionary).
    :param there: C(database), C(name), C(kind) and C(has_rows) of each table of the role's databases, and of each named collection (without
        a database and rows).
    """
    from ansible_collections.groundwork.observability.plugins.plugin_utils import _product_data as product_data

    return product_data.obsolete_objects(_options(options, passwords), there)


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            "product_data_catalogue_queries": product_data_catalogue_queries,
            "product_data_collections": product_data_collections,
            "product_data_objects": product_data_objects,
            "product_data_obsolete_objects": product_data_obsolete_objects,
        }
