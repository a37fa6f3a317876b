//! Teams: who owns applications and credentials.

plain_resource!(
    Team,
    "teams",
    "team",
    "/api/v1/teams",
    "/api/v1/teams/{name}",
    list_teams,
    create_team,
    get_team,
    replace_team,
    delete_team
);
